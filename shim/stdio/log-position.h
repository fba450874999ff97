// How far a container's log has come: what a successor of the shim goes on from.
//
// The order of every step is: records are written to the log, then the position is stored, then the
// spool gives its bytes back. A shim killed in between leaves records behind the stored offset; the
// successor cuts them off and formats the same bytes again: no gap and no repeat.
#pragma once

#include <kj/common.h>
#include <kj/io.h>
#include <kj/string.h>
#include <stdint.h>

namespace belay::shim {

struct LogPosition {
  uint64_t logDevice = 0;  // which file `logOffset` is about: st_dev and st_ino
  uint64_t logInode = 0;
  uint64_t logOffset = 0;
  uint64_t spooled[2] = {0, 0};  // by LogStream: everything before it is in the log
  uint8_t midLine[2] = {0, 0};   // by LogStream: the last record was a P
};

// The position's file on tmpfs. One small pwrite stores it, which a SIGKILL does not cut in two.
class LogPositionFile {
 public:
  static LogPositionFile create(int dirFd, kj::StringPtr name);
  // One that is there, for store() to go on with.
  static LogPositionFile open(int dirFd, kj::StringPtr name);

  void store(const LogPosition& position);

  // Nothing if none was stored, or by a version that wrote it otherwise.
  kj::Maybe<LogPosition> load() const;

 private:
  explicit LogPositionFile(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::AutoCloseFd fd;
};

}  // namespace belay::shim
