// Tests of database.h: what is written is read again, also after damage.
#include "supervisor/database.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <fstream>

#include "snapshot/failure.h"

namespace belay::supervisor {
namespace {

class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() {
    auto pattern = kj::str(testing::TempDir().c_str(), "/database-XXXXXX");
    KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
    folder = kj::mv(pattern);
  }

  kj::String file() { return kj::str(folder, "/belay.db"); }

  // Behind belayd's back.
  void execute(kj::StringPtr sql) {
    sqlite3* connection;
    ASSERT_EQ(SQLITE_OK, sqlite3_open(file().cStr(), &connection));
    EXPECT_EQ(SQLITE_OK, sqlite3_exec(connection, sql.cStr(), nullptr, nullptr, nullptr));
    sqlite3_close(connection);
  }

  kj::String folder;
};

Owned<PodRecord> pod(kj::StringPtr id, PodStage stage = PodStage::READY) {
  return Owned<PodRecord>::make([&](PodRecord::Builder record) {
    record.setId(id);
    record.setStage(stage);
    record.initConfig().setName(kj::str("name of ", id));
  });
}

Owned<snapshot::Image> image(kj::StringPtr id) {
  return Owned<snapshot::Image>::make([&](snapshot::Image::Builder record) { record.setId(id); });
}

TEST_F(DatabaseTest, ReadsBackWhatWasWrittenAfterReopening) {
  {
    Database database(folder);
    database.put(pod("b"));
    database.put(pod("a"));
    database.put(pod("b", PodStage::STOPPING));
    database.put(Owned<ContainerRecord>::make([](ContainerRecord::Builder record) {
      record.setId("c");
      record.setPodId("a");
    }));
  }
  Database database(folder);
  auto pods = database.pods();
  ASSERT_EQ(2u, pods.size());
  EXPECT_STREQ("a", pods[0].get().getId().cStr());
  EXPECT_STREQ("name of a", pods[0].get().getConfig().getName().cStr());
  EXPECT_EQ(PodStage::STOPPING, pods[1].get().getStage());
  auto containers = database.containers();
  ASSERT_EQ(1u, containers.size());
  EXPECT_STREQ("a", containers[0].get().getPodId().cStr());
  EXPECT_EQ(0u, database.images().size());
}

TEST_F(DatabaseTest, RemovesRecords) {
  Database database(folder);
  database.put(pod("a"));
  database.removePod("a");
  database.removePod("a");
  EXPECT_EQ(0u, database.pods().size());
}

TEST_F(DatabaseTest, WritesSeveralImagesAtOnce) {
  Database database(folder);
  auto both = kj::arr(image("one"), image("two"));
  database.put(both);
  EXPECT_EQ(2u, database.images().size());
}

TEST_F(DatabaseTest, IsDurableBesideTheEventLoop) {
  auto io = kj::setupAsyncIo();
  Database database(folder);
  database.put(image("one"));
  database.whenDurable().wait(io.waitScope);
}

TEST_F(DatabaseTest, MovesALongLogIntoTheDatabaseWhileItGoesOn) {
  auto io = kj::setupAsyncIo();
  Database database(folder);
  auto size = [&] { return std::ifstream(file().cStr(), std::ios::ate).tellg(); };
  auto before = size();
  // Each commit writes at least one page.
  for (int i = 0; i < 1100; ++i)
    database.put(pod(kj::str("pod-", i)));
  auto deadline = io.provider->getTimer().now() + 20 * kj::SECONDS;
  while (size() == before && io.provider->getTimer().now() < deadline) {
    io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }
  EXPECT_GT(size(), before);
  EXPECT_EQ(1100u, database.pods().size());
}

TEST_F(DatabaseTest, SetsADamagedRecordAside) {
  {
    Database database(folder);
    database.put(pod("good"));
    database.put(pod("bad"));
    database.put(pod("swapped"));
  }
  execute("UPDATE pods SET record = x'0102030405060708ffff' WHERE id = 'bad'");
  execute(
      "UPDATE pods SET record = (SELECT record FROM pods WHERE id = 'good') WHERE id = 'swapped'");
  Database database(folder);
  auto pods = database.pods();
  ASSERT_EQ(1u, pods.size());
  EXPECT_STREQ("good", pods[0].get().getId().cStr());
  EXPECT_EQ(1u, database.pods().size());
}

TEST_F(DatabaseTest, RefusesWhatIsNoDatabase) {
  std::ofstream(file().cStr()) << std::string(8192, 'x');
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { Database database(folder); }));
  EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, snapshot::codeOf(exception));
  EXPECT_NE(nullptr, strstr(exception.getDescription().cStr(), file().cStr()));
}

// Before anything is done by it.
TEST_F(DatabaseTest, RefusesADatabaseThatLostPages) {
  {
    Database database(folder);
    for (int i = 0; i < 200; ++i)
      database.put(pod(kj::str("pod-", i)));
  }
  execute("PRAGMA wal_checkpoint(TRUNCATE)");
  // Some leaf in the middle; what leads to it stays.
  std::fstream(file().cStr(), std::ios::in | std::ios::out | std::ios::binary).seekp(6 * 4096)
      << std::string(4096, '\0');
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { Database database(folder); }));
  EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, snapshot::codeOf(exception));
  EXPECT_NE(nullptr, strstr(exception.getDescription().cStr(), file().cStr()));
}

TEST_F(DatabaseTest, RefusesTheLayoutOfANewerDaemon) {
  {
    Database database(folder);
  }
  execute("PRAGMA user_version=99");
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { Database database(folder); }));
  EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, snapshot::codeOf(exception));
  EXPECT_NE(nullptr, strstr(exception.getDescription().cStr(), "newer"));
}

}  // namespace
}  // namespace belay::supervisor
