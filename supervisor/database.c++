// See database.h.
#include "supervisor/database.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sqlite3.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/on-thread.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// When the write-ahead log is moved into the database; SQLite's own default. That takes an fsync,
// so it is done beside the event loop.
constexpr int CHECKPOINT_PAGES = 1000;

constexpr const char* LAYOUT =
    "CREATE TABLE IF NOT EXISTS pods(id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS containers(id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS images(id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS damaged(kind TEXT, id TEXT, record BLOB);";

// For whoever waits for SQLite: a millisecond or less.
constexpr int INSTRUCTIONS_BETWEEN_LOOKS = 10000;

struct Deadline {
  const kj::MonotonicClock& clock;
  kj::TimePoint end;

  // As sqlite3_progress_handler wants it: nonzero interrupts.
  static int isOver(void* self) {
    auto& deadline = *static_cast<Deadline*>(self);
    return deadline.clock.now() > deadline.end ? 1 : 0;
  }
};

constexpr const char* NAMES[] = {"pods", "containers", "images"};

sqlite3_stmt* prepare(sqlite3* connection, kj::StringPtr sql) {
  sqlite3_stmt* statement = nullptr;
  int result = sqlite3_prepare_v3(connection, sql.cStr(), -1, SQLITE_PREPARE_PERSISTENT, &statement,
                                  nullptr);
  KJ_REQUIRE(result == SQLITE_OK, "SQLite refused a statement", sql, sqlite3_errmsg(connection));
  return statement;
}

void bind(sqlite3_stmt* statement, int index, kj::StringPtr text) {
  sqlite3_bind_text(statement, index, text.cStr(), static_cast<int>(text.size()), SQLITE_STATIC);
}

void bind(sqlite3_stmt* statement, int index, kj::ArrayPtr<const kj::byte> bytes) {
  sqlite3_bind_blob64(statement, index, bytes.begin(), bytes.size(), SQLITE_STATIC);
}

void syncFile(kj::StringPtr path, int flags) {
  int file;
  KJ_SYSCALL_HANDLE_ERRORS(file = open(path.cStr(), flags | O_CLOEXEC)) {
    case ENOENT:  // no write-ahead log: all of it is in the database already
      return;
    default:
      KJ_FAIL_SYSCALL("open to sync", error, path);
  }
  kj::AutoCloseFd own(file);
  KJ_SYSCALL(fsync(own), path);
}

// A connection that only moves the write-ahead log into the database, on a thread of its own;
// shared by whichever of the two, thread and Database, ends last. Opened once: SQLite keeps
// descriptors of closed connections open as long as others hold locks.
std::shared_ptr<sqlite3> openCheckpointer(kj::StringPtr path) {
  sqlite3* connection = nullptr;
  int result = sqlite3_open_v2(path.cStr(), &connection, SQLITE_OPEN_READWRITE, nullptr);
  std::shared_ptr<sqlite3> own(connection, &sqlite3_close);
  KJ_REQUIRE(result == SQLITE_OK, "cannot open the database for checkpoints", path);
  // A connection that has read nothing yet does not know that there is a write-ahead log.
  sqlite3_exec(connection, "SELECT 1 FROM sqlite_schema", nullptr, nullptr, nullptr);
  return own;
}

void checkpoint(sqlite3* connection) {
  int result =
      sqlite3_wal_checkpoint_v2(connection, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  KJ_REQUIRE(result == SQLITE_OK || result == SQLITE_BUSY, "checkpoint failed",
             sqlite3_errmsg(connection));
}

}  // namespace

Database::Database(kj::StringPtr folder) : path(kj::str(folder, "/belay.db")), checkpoints(*this) {
  KJ_ON_SCOPE_FAILURE(close());
  int result = sqlite3_open_v2(path.cStr(), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                               nullptr);
  if (result != SQLITE_OK) failWith(result, "open");
  configure();
  checkPages();
  prepareLayout();
  prepareStatements();
  checkpointer = openCheckpointer(path);
}

Database::~Database() noexcept(false) {
  close();
}

void Database::configure() {
  sqlite3_extended_result_codes(connection, 1);
  execute("PRAGMA journal_mode=WAL");
  execute("PRAGMA synchronous=NORMAL");
  // Replaces SQLite's own checkpoints, which fsync inside a commit.
  sqlite3_wal_hook(connection, &Database::onCommit, this);
}

// Damage in a page that no record of today lies in would else be met in the middle of an operation.
void Database::checkPages() {
  auto& clock = kj::systemPreciseMonotonicClock();
  Deadline deadline{clock, clock.now() + CHECK_LIMIT};
  sqlite3_progress_handler(connection, INSTRUCTIONS_BETWEEN_LOOKS, &Deadline::isOver, &deadline);
  KJ_DEFER(sqlite3_progress_handler(connection, 0, nullptr, nullptr));
  // Reads what tables and their pages are, and so fails itself where that is damaged.
  sqlite3_stmt* statement = nullptr;
  KJ_DEFER(sqlite3_finalize(statement));
  int result = sqlite3_prepare_v2(connection, "PRAGMA quick_check(1)", -1, &statement, nullptr);
  if (result == SQLITE_OK) result = sqlite3_step(statement);
  if (result == SQLITE_INTERRUPT) {
    KJ_LOG(WARNING, "the database is too large to be checked to its end", path);
    return;
  }
  if (result != SQLITE_ROW) failWith(result, "check");
  kj::StringPtr verdict = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  if (verdict != "ok") failAsDamaged("check", verdict);
}

void Database::prepareLayout() {
  sqlite3_stmt* statement = prepare(connection, "PRAGMA user_version");
  KJ_DEFER(sqlite3_finalize(statement));
  int result = sqlite3_step(statement);
  if (result != SQLITE_ROW) failWith(result, "read");
  int version = sqlite3_column_int(statement, 0);
  sqlite3_reset(statement);
  if (version > static_cast<int>(LAYOUT_VERSION)) {
    fail(Code::FAILED_PRECONDITION, "database ", path, " has layout ", version,
         ", written by a newer belayd; this one knows layout ", LAYOUT_VERSION,
         ": start the newer one, or give another --root");
  }
  execute(LAYOUT);
  execute(kj::str("PRAGMA user_version=", LAYOUT_VERSION));
}

void Database::prepareStatements() {
  for (int i = 0; i < 3; ++i) {
    puts[i] = prepare(connection, kj::str("INSERT OR REPLACE INTO ", NAMES[i], " VALUES(?1, ?2)"));
    removals[i] = prepare(connection, kj::str("DELETE FROM ", NAMES[i], " WHERE id = ?1"));
  }
}

void Database::close() {
  if (connection == nullptr) return;
  for (int i = 0; i < 3; ++i) {
    sqlite3_finalize(puts[i]);
    sqlite3_finalize(removals[i]);
  }
  sqlite3_close(connection);
  connection = nullptr;
  checkpointer = nullptr;
}

void Database::requireOpen() {
  if (connection == nullptr) fail(Code::UNAVAILABLE, "belayd is being replaced: ask again");
}

void Database::put(const Owned<PodRecord>& pod) {
  put(Table::PODS, pod.get().getId(), pod.bytes());
}

void Database::put(const Owned<ContainerRecord>& container) {
  put(Table::CONTAINERS, container.get().getId(), container.bytes());
}

void Database::put(const Owned<snapshot::Image>& image) {
  put(Table::IMAGES, image.get().getId(), image.bytes());
}

void Database::put(kj::ArrayPtr<const Owned<snapshot::Image>> images) {
  execute("BEGIN IMMEDIATE");
  KJ_ON_SCOPE_FAILURE(sqlite3_exec(connection, "ROLLBACK", nullptr, nullptr, nullptr));
  for (const auto& image : images) {
    put(image);
  }
  execute("COMMIT");
}

void Database::removePod(kj::StringPtr id) {
  remove(Table::PODS, id);
}
void Database::removeContainer(kj::StringPtr id) {
  remove(Table::CONTAINERS, id);
}
void Database::removeImage(kj::StringPtr id) {
  remove(Table::IMAGES, id);
}

kj::Promise<void> Database::whenDurable() {
  // Not the database file itself: closing a second descriptor of it would drop SQLite's POSIX locks
  // (fcntl(2)). The write-ahead log has none, and holds everything since the last checkpoint, which
  // synced the rest.
  auto log = kj::str(path, "-wal");
  auto folder = kj::heapString(path.slice(0, KJ_ASSERT_NONNULL(path.findLast('/'))));
  return onThread([log = kj::mv(log), folder = kj::mv(folder)] {
    syncFile(log, O_RDWR);
    syncFile(folder, O_RDONLY | O_DIRECTORY);
  });
}

kj::Array<Owned<PodRecord>> Database::pods() {
  return readAll<PodRecord>(Table::PODS);
}

kj::Array<Owned<ContainerRecord>> Database::containers() {
  return readAll<ContainerRecord>(Table::CONTAINERS);
}

kj::Array<Owned<snapshot::Image>> Database::images() {
  return readAll<snapshot::Image>(Table::IMAGES);
}

template <typename T>
kj::Array<Owned<T>> Database::readAll(Table table) {
  kj::Vector<Owned<T>> records;
  kj::Vector<kj::String> damaged;
  {
    auto sql = kj::str("SELECT id, record FROM ", NAMES[static_cast<int>(table)], " ORDER BY id");
    sqlite3_stmt* statement = prepare(connection, sql);
    KJ_DEFER(sqlite3_finalize(statement));
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
      auto id = kj::str(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)));
      auto bytes = kj::arrayPtr(static_cast<const kj::byte*>(sqlite3_column_blob(statement, 1)),
                                sqlite3_column_bytes(statement, 1));
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                     auto record = Owned<T>::fromBytes(bytes);
                     KJ_REQUIRE(record.get().getId() == id, "the record is another one's");
                     records.add(kj::mv(record));
                   })) {
        KJ_LOG(ERROR, "a record in the database cannot be read and is set aside", path,
               NAMES[static_cast<int>(table)], id, exception->getDescription());
        damaged.add(kj::mv(id));
      }
    }
    if (result != SQLITE_DONE) failWith(result, "read");
  }
  for (auto& id : damaged)
    setAside(table, id);
  return records.releaseAsArray();
}

void Database::setAside(Table table, kj::StringPtr id) {
  kj::StringPtr name = NAMES[static_cast<int>(table)];
  sqlite3_stmt* statement = prepare(
      connection,
      kj::str("INSERT INTO damaged SELECT '", name, "', id, record FROM ", name, " WHERE id = ?1"));
  KJ_DEFER(sqlite3_finalize(statement));
  bind(statement, 1, id);
  step(statement);
  remove(table, id);
}

void Database::execute(kj::StringPtr sql) {
  requireOpen();
  int result = sqlite3_exec(connection, sql.cStr(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) failWith(result, "write");
}

void Database::put(Table table, kj::StringPtr id, kj::ArrayPtr<const kj::byte> bytes) {
  requireOpen();
  sqlite3_stmt* statement = puts[static_cast<int>(table)];
  bind(statement, 1, id);
  bind(statement, 2, bytes);
  FAILPOINT("belayd.database/before-write");
  step(statement);
  FAILPOINT("belayd.database/after-write");
}

void Database::remove(Table table, kj::StringPtr id) {
  requireOpen();
  sqlite3_stmt* statement = removals[static_cast<int>(table)];
  FAILPOINT("belayd.database/before-removal");
  bind(statement, 1, id);
  step(statement);
}

void Database::step(sqlite3_stmt* statement) {
  int result = sqlite3_step(statement);
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (result != SQLITE_DONE) failWith(result, "write");
  if (pagesInLog >= CHECKPOINT_PAGES) checkpointInBackground();
}

int Database::onCommit(void* self, sqlite3*, const char*, int pages) {
  static_cast<Database*>(self)->pagesInLog = pages;
  return SQLITE_OK;
}

void Database::checkpointInBackground() {
  if (checkpointing) return;
  checkpointing = true;
  pagesInLog = 0;
  checkpoints.add(onThread([connection = checkpointer] {
                    checkpoint(connection.get());
                  }).attach(kj::defer([this] { checkpointing = false; })));
}

void Database::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "the database's log could not be moved into it; it is tried again later", path,
         exception.getDescription());
}

void Database::failAsDamaged(kj::StringPtr step, kj::StringPtr reason) {
  fail(Code::FAILED_PRECONDITION, "cannot ", step, " database ", path, ": ", reason,
       "; move the file away (belayd then starts without knowing any pod or image), or restore "
       "it from a backup");
}

void Database::failWith(int result, kj::StringPtr step) {
  kj::StringPtr reason =
      connection == nullptr ? sqlite3_errstr(result) : sqlite3_errmsg(connection);
  switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      failAsDamaged(step, reason);
    case SQLITE_FULL:
      fail(Code::RESOURCE_EXHAUSTED, "cannot ", step, " database ", path, ": the disk is full (",
           reason, ")");
    default:
      fail(Code::INTERNAL, "cannot ", step, " database ", path, ": ", reason);
  }
}

}  // namespace belay::supervisor
