// A container's log: takes bytes from the spools of its streams, formats them and writes them to
// the log file. It is the only writer of that file, and nothing that happens to the file ever stops
// the container: what cannot be written waits in the spool while there is room, then it is dropped
// and counted.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include "shim/engine/failure-value.h"
#include "shim/stdio/log-disk.h"
#include "shim/stdio/log-format.h"
#include "shim/stdio/log-position.h"
#include "shim/stdio/spool.h"
#include "shim/stdio/wakeup.h"

namespace belay::shim {

class ContainerLog final {
 public:
  // `path` is absolute; empty: output is taken and dropped. `maxLineBytes` as in ContainerSpec. The
  // spools and `disk` outlive this object. `err` is nothing where there is one stream (a terminal).
  ContainerLog(LogDisk& disk, kj::Timer& timer, LogPositionFile position, kj::StringPtr path,
               size_t maxLineBytes, Spool& out, kj::Maybe<Spool&> err);
  ~ContainerLog() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(ContainerLog);

  // Opens the log file, its missing parents made, and begins to write. Call it once. On failure no
  // file is left that was not there.
  kj::Promise<kj::Maybe<FailureValue>> open();

  // The same for a successor: cuts the log back to the stored position if it is still the same
  // file. When it cannot be opened output is dropped, and counted, until a reopen() succeeds.
  kj::Promise<void> resume(LogPosition position);

  // Says that a spool got more bytes.
  void notify();

  // Resolves once the stream's spool has room. One waiter for each stream.
  kj::Promise<void> whenRoom(LogStream stream) { return at(stream).room.wait(); }

  // Says that the stream's spool will get nothing more.
  void endOfInput(LogStream stream);

  // Resolves once all streams have ended and everything is written or dropped.
  kj::Promise<void> whenFinished() { return finished.addBranch(); }

  // Opens the path anew and writes there from the next line on; a line that has no end for
  // REOPEN_PATIENCE is cut. On failure the old file stays in use and no new one is left.
  kj::Promise<kj::Maybe<FailureValue>> reopen();

  // Bytes of output that could not be written and were dropped.
  uint64_t droppedBytes() const { return dropped; }

  static constexpr kj::Duration REOPEN_PATIENCE = 1 * kj::SECONDS;

 private:
  struct Stream {
    Stream(Spool& spool, LogStream which, size_t maxLineBytes)
        : spool(spool), formatter(which, maxLineBytes) {}
    Spool& spool;
    LogFormatter formatter;
    Wakeup room;
    bool ended = false;
    uint64_t formatted = 0;  // position up to which the present batch goes
  };

  struct Opened {
    kj::Own<DiskFile> file;
    uint64_t device, inode, size;
  };

  Stream& at(LogStream stream);
  kj::Promise<kj::OneOf<Opened, FailureValue>> openFile();
  kj::Promise<int> makeParents();
  void cutBack(Opened& opened);
  void use(Opened opened);
  void start();

  kj::Promise<void> run();
  kj::Promise<void> writeWaiting();
  bool collect(kj::Array<kj::byte>& input, kj::Vector<kj::byte>& output);
  kj::Promise<kj::Vector<kj::byte>> writeBatch(kj::Vector<kj::byte> records);
  kj::Promise<void> pauseAfterError(int error);
  void commit();
  void switchFileIfAsked();

  bool atLineEnd() const;
  bool mustNotWait() const;
  bool allDone() const;

  LogDisk& disk;
  kj::Timer& timer;
  LogPositionFile positionFile;
  kj::String path;
  size_t maxLineBytes;
  kj::Vector<kj::Own<Stream>> streams;
  Wakeup work;
  Wakeup pressure;  // while an error pauses the writing: somebody should not wait any longer

  kj::Maybe<kj::Own<DiskFile>> file;
  LogPosition position;
  uint64_t dropped = 0;
  int lastError = 0;

  struct Reopening {
    Opened opened;
    kj::TimePoint deadline;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };
  kj::Maybe<Reopening> reopening;

  kj::Own<kj::PromiseFulfiller<void>> finishedFulfiller;
  kj::ForkedPromise<void> finished;
  kj::Promise<void> writer = nullptr;
};

}  // namespace belay::shim
