// What must outlive belayd: the records of pods, containers and images, in one SQLite file.
//
// Records are kept as the bytes of their schema struct (model.capnp, image.capnp), which may gain
// fields without a new table layout. One process at a time uses a database (belayd's lock file).
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/memory.h>
#include <kj/string.h>
#include <kj/time.h>

#include <memory>

#include "snapshot/image.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

struct sqlite3;
struct sqlite3_stmt;

namespace belay::supervisor {

class Database final : private kj::TaskSet::ErrorHandler {
 public:
  // Of the tables, as PRAGMA user_version has it. A newer one is refused: a downgrade must not
  // write into what it does not know.
  static constexpr uint32_t LAYOUT_VERSION = 1;

  // Opens `folder`/belay.db (absolute), making it if absent, and checks it (SQLite's quick_check,
  // within CHECK_LIMIT). Throws FAILED_PRECONDITION, saying what to do, when the file is no
  // database, is damaged, or was written by a newer belayd: nothing is lost silently.
  explicit Database(kj::StringPtr folder);
  ~Database() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Database);

  // A node's database is checked in a few milliseconds. One that takes longer is not checked to
  // its end, and the log says so.
  static constexpr kj::Duration CHECK_LIMIT = 1 * kj::SECONDS;

  // For a belayd that leaves it to the next. Whoever writes afterwards is told UNAVAILABLE.
  void close();

  // Writing: committed at return, so it survives a crash of belayd (WAL, synchronous=NORMAL), yet
  // without any fsync: a pod that a power cut takes is gone anyway, with its processes.
  void put(const Owned<PodRecord>& pod);
  void put(const Owned<ContainerRecord>& container);
  void put(const Owned<snapshot::Image>& image);
  // Several images at once, or none: a tag that moves from one to another.
  void put(kj::ArrayPtr<const Owned<snapshot::Image>> images);
  void removePod(kj::StringPtr id);
  void removeContainer(kj::StringPtr id);
  void removeImage(kj::StringPtr id);

  // Resolves when all that was written before survives a power cut too: an image's record must, or
  // its layers would be unknown to whoever collects garbage. It is what synchronous=FULL does, done
  // beside the event loop.
  kj::Promise<void> whenDurable();

  // Reading, at start. A record that cannot be read is reported in the log and set aside in the
  // table `damaged`, so that one bad record does not keep the node down.
  kj::Array<Owned<PodRecord>> pods();
  kj::Array<Owned<ContainerRecord>> containers();
  kj::Array<Owned<snapshot::Image>> images();

 private:
  enum class Table { PODS, CONTAINERS, IMAGES };

  kj::String path;
  sqlite3* connection = nullptr;
  std::shared_ptr<sqlite3> checkpointer;
  sqlite3_stmt* puts[3] = {};
  sqlite3_stmt* removals[3] = {};
  bool checkpointing = false;
  int pagesInLog = 0;
  kj::TaskSet checkpoints;

  void configure();
  void checkPages();
  void prepareLayout();
  void prepareStatements();
  void requireOpen();

  void execute(kj::StringPtr sql);
  void put(Table table, kj::StringPtr id, kj::ArrayPtr<const kj::byte> bytes);
  void remove(Table table, kj::StringPtr id);
  void step(sqlite3_stmt* statement);
  template <typename T>
  kj::Array<Owned<T>> readAll(Table table);
  void setAside(Table table, kj::StringPtr id);

  static int onCommit(void* self, sqlite3*, const char*, int pages);
  void checkpointInBackground();
  void taskFailed(kj::Exception&& exception) override;

  [[noreturn]] void failAsDamaged(kj::StringPtr step, kj::StringPtr reason);
  [[noreturn]] void failWith(int result, kj::StringPtr step);
};

}  // namespace belay::supervisor
