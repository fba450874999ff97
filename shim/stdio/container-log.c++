// Implementation of container-log.h: opening files, and one coroutine that writes batch after
// batch.
#include "shim/stdio/container-log.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/sys/clock.h"

namespace belay::shim {
namespace {

// What is read from a spool, and formatted, for one write.
constexpr size_t BATCH_BYTES = 64 << 10;

// A record longer than this would have to be held in memory whole.
constexpr size_t MAX_LINE_BYTES = 1 << 20;

// After a failed write (a full disk, mostly) the same bytes are tried again at this interval, while
// the spool has room for what comes.
constexpr kj::Duration RETRY_INTERVAL = 1 * kj::SECONDS;

constexpr mode_t LOG_MODE = 0640;
constexpr mode_t LOG_DIRECTORY_MODE = 0755;

}  // namespace

ContainerLog::ContainerLog(LogDisk& disk, kj::Timer& timer, LogPositionFile positionFile,
                           kj::StringPtr path, size_t maxLine, Spool& out, kj::Maybe<Spool&> err)
    : disk(disk),
      timer(timer),
      positionFile(kj::mv(positionFile)),
      path(kj::str(path)),
      maxLineBytes(maxLine == 0 ? MAX_LINE_BYTES : kj::min(maxLine, MAX_LINE_BYTES)),
      finished(nullptr) {
  streams.add(kj::heap<Stream>(out, LogStream::OUT, maxLineBytes));
  KJ_IF_MAYBE (spool, err) streams.add(kj::heap<Stream>(*spool, LogStream::ERR, maxLineBytes));
  auto paf = kj::newPromiseAndFulfiller<void>();
  finishedFulfiller = kj::mv(paf.fulfiller);
  finished = paf.promise.fork();
}

ContainerLog::~ContainerLog() noexcept(false) {}

ContainerLog::Stream& ContainerLog::at(LogStream stream) {
  size_t index = size_t(stream);
  KJ_REQUIRE(index < streams.size(), "a terminal has one stream only");
  return *streams[index];
}

kj::Promise<kj::Maybe<FailureValue>> ContainerLog::open() {
  if (path.size() > 0) {
    auto result = co_await openFile();
    if (result.is<FailureValue>()) co_return kj::mv(result.get<FailureValue>());
    use(kj::mv(result.get<Opened>()));
  }
  positionFile.store(position);
  start();
  co_return nullptr;
}

kj::Promise<void> ContainerLog::resume(LogPosition stored) {
  position = stored;
  for (size_t i : kj::indices(streams))
    streams[i]->formatter.setMidLine(stored.midLine[i] != 0);
  if (path.size() > 0) {
    auto result = co_await openFile();
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(opened, Opened) {
        cutBack(opened);
        use(kj::mv(opened));
      }
      KJ_CASE_ONEOF(failure, FailureValue) {
        KJ_LOG(ERROR, "a log cannot go on, output is dropped", failure.message);
      }
    }
  }
  positionFile.store(position);
  start();
  // What the spools hold already.
  work.notify();
}

// Takes away what was written and not committed. Another file: it was rotated, and what the stored
// offset speaks of is complete elsewhere.
void ContainerLog::cutBack(Opened& opened) {
  bool same = opened.device == position.logDevice && opened.inode == position.logInode;
  if (!same || opened.size <= position.logOffset) return;
  KJ_SYSCALL(ftruncate(opened.file->fd, position.logOffset), path);
  opened.size = position.logOffset;
}

kj::Promise<kj::OneOf<ContainerLog::Opened, FailureValue>> ContainerLog::openFile() {
  // Whoever may write to the log folder must not make us write elsewhere (O_NOFOLLOW) or wait for
  // the reader of a FIFO (O_NONBLOCK, taken back below).
  constexpr int FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  kj::OneOf<Opened, FailureValue> result;

  auto opened = co_await disk.open(kj::str(path), FLAGS, LOG_MODE);
  if (opened.is<int>() && opened.get<int>() == ENOENT) {
    int error = co_await makeParents();
    if (error != 0) {
      result.init<FailureValue>(systemFailure("make the folder of the log", path, error));
      co_return result;
    }
    opened = co_await disk.open(kj::str(path), FLAGS, LOG_MODE);
  }
  if (opened.is<int>()) {
    result.init<FailureValue>(systemFailure("open the log", path, opened.get<int>()));
    co_return result;
  }

  auto fd = kj::mv(opened.get<kj::AutoCloseFd>());
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats), path);
  if (!S_ISREG(stats.st_mode)) {
    result.init<FailureValue>(plainFailure(Failure::Code::INVALID_ARGUMENT, "open the log", path,
                                           "it is no regular file"));
    co_return result;
  }
  // io_uring answers EAGAIN, instead of waiting in a worker, for a file that is O_NONBLOCK.
  KJ_SYSCALL(fcntl(fd, F_SETFL, O_APPEND), path);
  result.init<Opened>(Opened{kj::refcounted<DiskFile>(kj::mv(fd)), stats.st_dev, stats.st_ino,
                             uint64_t(stats.st_size)});
  co_return result;
}

// As mkdir -p of the path's parent. Gives 0 or errno.
kj::Promise<int> ContainerLog::makeParents() {
  for (size_t i = 1; i < path.size(); i++) {
    if (path[i] != '/') continue;
    int error = co_await disk.makeDirectory(kj::str(path.slice(0, i)), LOG_DIRECTORY_MODE);
    if (error != 0 && error != EEXIST) co_return error;
  }
  co_return 0;
}

void ContainerLog::use(Opened opened) {
  file = kj::mv(opened.file);
  position.logDevice = opened.device;
  position.logInode = opened.inode;
  position.logOffset = opened.size;
}

void ContainerLog::start() {
  writer = run().eagerlyEvaluate([this](kj::Exception&& exception) {
    KJ_LOG(ERROR, "the log writer failed", path, exception);
    finishedFulfiller->reject(kj::mv(exception));
  });
}

void ContainerLog::notify() {
  work.notify();
  if (mustNotWait()) pressure.notify();
}

void ContainerLog::endOfInput(LogStream stream) {
  at(stream).ended = true;
  work.notify();
  pressure.notify();
}

kj::Promise<kj::Maybe<FailureValue>> ContainerLog::reopen() {
  if (path.size() == 0) co_return nullptr;
  auto result = co_await openFile();
  if (result.is<FailureValue>()) co_return kj::mv(result.get<FailureValue>());
  CO_FAILPOINT(timer, "shim.reopen-log/after-open");

  auto paf = kj::newPromiseAndFulfiller<void>();
  // A second call meanwhile takes the first one's place, and its file is as new.
  KJ_IF_MAYBE (earlier, reopening) earlier->done->fulfill();
  auto deadline = timer.now() + REOPEN_PATIENCE;
  reopening = Reopening{kj::mv(result.get<Opened>()), deadline, kj::mv(paf.fulfiller)};
  work.notify();
  pressure.notify();
  // The writer looks again when the patience ends, should nothing else wake it.
  auto nudge = timer.atTime(deadline).then([this]() { work.notify(); }).eagerlyEvaluate(nullptr);
  co_await paf.promise;
  co_return nullptr;
}

kj::Promise<void> ContainerLog::run() {
  do {
    co_await work.wait();
    co_await writeWaiting().catch_([this](kj::Exception&& exception) {
      if (file == nullptr) kj::throwFatalException(kj::mv(exception));
      // The container must not suffer: its output is dropped until the log is reopened.
      KJ_LOG(ERROR, "the log writer failed, output is dropped", path, exception);
      file = nullptr;
      work.notify();
    });
  } while (!allDone());
  KJ_IF_MAYBE (asked, reopening) asked->done->fulfill();
  finishedFulfiller->fulfill();
}

// Writes batch after batch until no whole record is waiting. The buffers live only that long: an
// idle container costs no memory.
kj::Promise<void> ContainerLog::writeWaiting() {
  kj::Array<kj::byte> input;
  kj::Vector<kj::byte> records;
  switchFileIfAsked();
  while (collect(input, records)) {
    if (file != nullptr) records = co_await writeBatch(kj::mv(records));
    commit();
    records.clear();
    switchFileIfAsked();
  }
}

// Formats what the spools hold, up to a batch. False if there is nothing to write or to drop.
bool ContainerLog::collect(kj::Array<kj::byte>& input, kj::Vector<kj::byte>& output) {
  bool any = false;
  for (auto& stream : streams) {
    uint64_t begin = stream->spool.begin();
    uint64_t waiting = stream->spool.end() - begin;
    stream->formatted = begin;
    if (waiting == 0) continue;
    if (file == nullptr) {
      stream->formatted = stream->spool.end();
      any = true;
      continue;
    }
    size_t wanted = kj::min(waiting, uint64_t(kj::max(BATCH_BYTES, maxLineBytes + 2)));
    if (input.size() < wanted) input = kj::heapArray<kj::byte>(wanted);
    auto bytes = stream->spool.read(begin, input);
    bool whole = stream->ended && bytes.size() == waiting;
    auto result = stream->formatter.format(bytes, whole ? LogInput::LAST : LogInput::MORE_TO_COME,
                                           output, output.size() + BATCH_BYTES / 2, realtimeNs);
    stream->formatted += result.consumed;
    any = any || result.consumed > 0;
  }
  return any;
}

// Writes the records, or gives up and counts their bytes as dropped. Gives the buffer back.
kj::Promise<kj::Vector<kj::byte>> ContainerLog::writeBatch(kj::Vector<kj::byte> records) {
  size_t written = 0;
  while (written < records.size()) {
    auto& current = KJ_ASSERT_NONNULL(file);
    auto outcome = co_await disk.write(kj::addRef(*current), kj::mv(records), written);
    records = kj::mv(outcome.data);
    if (outcome.result > 0) {
      written += outcome.result;
      lastError = 0;
      continue;
    }
    // No torn record may be left for readers, or for the next batch to be glued to.
    if (written > 0 && ftruncate(current->fd, position.logOffset) == 0) written = 0;
    co_await pauseAfterError(-outcome.result);
    switchFileIfAsked();
    if (mustNotWait()) {
      for (auto& stream : streams)
        dropped += stream->formatted - stream->spool.begin();
      co_return kj::mv(records);
    }
  }
  CO_FAILPOINT(timer, "shim.log/after-write");
  position.logOffset += written;
  co_return kj::mv(records);
}

kj::Promise<void> ContainerLog::pauseAfterError(int error) {
  if (error != lastError) {
    KJ_LOG(WARNING, "cannot write a container's log, trying again", path, strerror(error), dropped);
    lastError = error;
  }
  if (mustNotWait()) co_return;
  co_await timer.afterDelay(RETRY_INTERVAL).exclusiveJoin(pressure.wait());
}

// The batch is in the log (or dropped): the position says so, then the spools forget it.
void ContainerLog::commit() {
  for (size_t i : kj::indices(streams)) {
    position.spooled[i] = streams[i]->formatted;
    position.midLine[i] = streams[i]->formatter.midLine();
  }
  positionFile.store(position);
  FAILPOINT("shim.log/after-position");
  for (auto& stream : streams) {
    stream->spool.consume(stream->formatted);
    stream->room.notify();
  }
  FAILPOINT("shim.log/after-batch");
}

void ContainerLog::switchFileIfAsked() {
  KJ_IF_MAYBE (asked, reopening) {
    if (!atLineEnd() && timer.now() < asked->deadline) return;
    use(kj::mv(asked->opened));
    positionFile.store(position);
    asked->done->fulfill();
    reopening = nullptr;
  }
}

bool ContainerLog::atLineEnd() const {
  for (auto& stream : streams) {
    if (stream->formatter.midLine()) return false;
  }
  return true;
}

// True if waiting would hold a container or its end back.
bool ContainerLog::mustNotWait() const {
  bool allEnded = true;
  for (auto& stream : streams) {
    if (stream->spool.room() == 0) return true;
    allEnded = allEnded && stream->ended;
  }
  return allEnded;
}

bool ContainerLog::allDone() const {
  for (auto& stream : streams) {
    if (!stream->ended || stream->spool.begin() != stream->spool.end()) return false;
  }
  return true;
}

}  // namespace belay::shim
