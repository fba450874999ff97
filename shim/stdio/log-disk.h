// Where logs are written: file operations that may take as long as a disk likes, without ever
// blocking the event loop.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/memory.h>
#include <kj/one-of.h>
#include <kj/refcount.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <sys/types.h>

namespace belay::shim {

// A file that stays open as long as an operation on it is under way.
struct DiskFile : public kj::Refcounted {
  explicit DiskFile(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  const kj::AutoCloseFd fd;
};

class LogDisk {
 public:
  virtual ~LogDisk() noexcept(false) = default;

  // Opens as openat(2) relative to the working directory. Gives the file, or errno.
  virtual kj::Promise<kj::OneOf<kj::AutoCloseFd, int>> open(kj::String path, int flags,
                                                            mode_t mode) = 0;

  // As mkdir(2). Gives 0 or errno.
  virtual kj::Promise<int> makeDirectory(kj::String path, mode_t mode) = 0;

  struct Written {
    kj::Vector<kj::byte> data;  // what was given, back for reuse
    ssize_t result;             // bytes written, or -errno
  };

  // Writes the bytes of `data` from `from` on at the file's end (files are opened O_APPEND).
  // Dropping the promise stops the waiting; the write goes on, and keeps file and data until its
  // end.
  virtual kj::Promise<Written> write(kj::Own<DiskFile> file, kj::Vector<kj::byte> data,
                                     size_t from) = 0;

  // Resolves once no operation is under way; what is asked for from now on waits until release().
  // An execve(2) with an operation under way could hang with the disk. One holder at a time, who
  // calls release() also when the promise was dropped. Without effect where every operation has
  // ended when its call returns.
  virtual kj::Promise<void> hold() { return kj::READY_NOW; }
  virtual void release() {}
};

// By io_uring, or by plain system calls where the kernel has none or forbids it.
kj::Own<LogDisk> newLogDisk(kj::UnixEventPort& port);

// By plain system calls: a hung disk then blocks the caller.
kj::Own<LogDisk> newPlainLogDisk();

// By io_uring. Nothing where the kernel has none or forbids it.
kj::Maybe<kj::Own<LogDisk>> tryNewUringLogDisk(kj::UnixEventPort& port);

}  // namespace belay::shim
