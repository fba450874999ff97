// The plain implementation of log-disk.h, and the choice between the two.
#include "shim/stdio/log-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

namespace belay::shim {
namespace {

class PlainLogDisk final : public LogDisk {
 public:
  kj::Promise<kj::OneOf<kj::AutoCloseFd, int>> open(kj::String path, int flags,
                                                    mode_t mode) override {
    kj::OneOf<kj::AutoCloseFd, int> result;
    int fd = ::open(path.cStr(), flags, mode);
    if (fd < 0) {
      result.init<int>(errno);
    } else {
      result.init<kj::AutoCloseFd>(fd);
    }
    return result;
  }

  kj::Promise<int> makeDirectory(kj::String path, mode_t mode) override {
    return mkdir(path.cStr(), mode) < 0 ? errno : 0;
  }

  kj::Promise<Written> write(kj::Own<DiskFile> file, kj::Vector<kj::byte> data,
                             size_t from) override {
    ssize_t count;
    do {
      count = ::write(file->fd, data.begin() + from, data.size() - from);
    } while (count < 0 && errno == EINTR);
    return Written{kj::mv(data), count < 0 ? -errno : count};
  }
};

}  // namespace

kj::Own<LogDisk> newPlainLogDisk() {
  return kj::heap<PlainLogDisk>();
}

kj::Own<LogDisk> newLogDisk(kj::UnixEventPort& port) {
  KJ_IF_MAYBE (disk, tryNewUringLogDisk(port)) return kj::mv(*disk);
  return newPlainLogDisk();
}

}  // namespace belay::shim
