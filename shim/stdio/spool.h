// A bounded spool between a container's output and its log: a file on tmpfs whose positions only
// grow. Output is spliced in at the end, and space is given back at the start.
//
// The file's size is the commit: splice moves bytes from the FIFO and into the file in one system
// call, so that a killed shim leaves every byte in exactly one of the two (kernel-tested: 300
// kills, no gap, no repeat). A successor goes on from the size and from the position its record
// names.
#pragma once

#include <kj/common.h>
#include <kj/io.h>
#include <kj/string.h>
#include <stdint.h>

namespace belay::shim {

class Spool {
 public:
  // How much may wait in a spool. When a log disk hangs, a container is held back only after this.
  static constexpr uint64_t CAPACITY = 4 << 20;

  // Makes an empty spool `name` in the directory; one that is there is replaced.
  static Spool create(int dirFd, kj::StringPtr name);

  // Opens one that a killed shim left; what lies before `begin` has been consumed. Throws if
  // `begin` is not within the file.
  static Spool open(int dirFd, kj::StringPtr name, uint64_t begin);

  enum class Moved { SOME, NOTHING_NOW, FULL, END };

  // Moves what a non-blocking pipe or FIFO holds, as far as there is room: at most one pipe's worth
  // each call. END: no writer is left. FULL also when the file system has no space.
  Moved spliceFrom(int pipeFd);

  // The same for a pty master, which cannot be spliced into a file; EIO, its way of saying that no
  // slave is open, is END.
  Moved readFrom(int ptyFd);

  // Reads from the position into the buffer, as much as there is.
  kj::ArrayPtr<kj::byte> read(uint64_t position, kj::ArrayPtr<kj::byte> buffer) const;

  // Gives back everything before the position.
  void consume(uint64_t position);

  uint64_t begin() const { return first; }
  uint64_t end() const { return last; }
  uint64_t room() const { return CAPACITY - (last - first); }

 private:
  Spool(kj::AutoCloseFd fd, uint64_t first, uint64_t last)
      : fd(kj::mv(fd)), first(first), last(last), punched(first & ~PAGE_MASK) {}

  static constexpr uint64_t PAGE_MASK = 4095;

  kj::AutoCloseFd fd;
  uint64_t first;
  uint64_t last;
  uint64_t punched;  // a multiple of the page size: everything before it is a hole
};

}  // namespace belay::shim
