// Reading and writing the small files of procfs and cgroupfs.
#include "shim/engine/text-file.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <stdlib.h>
#include <unistd.h>

namespace belay::shim {

int tryReadTextFile(int directory, kj::StringPtr path, kj::String& text, size_t maxBytes) {
  int fd = openat(directory, path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  kj::AutoCloseFd file(fd);
  kj::Vector<char> bytes;
  char buffer[4096];
  for (;;) {
    ssize_t n = read(file, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    KJ_REQUIRE(bytes.size() + n <= maxBytes, "The file is too large.", path, maxBytes);
    bytes.addAll(buffer, buffer + n);
  }
  bytes.add('\0');
  text = kj::String(bytes.releaseAsArray());
  return 0;
}

kj::Maybe<kj::String> readTextFileIfExists(int directory, kj::StringPtr path, size_t maxBytes) {
  kj::String text;
  int error = tryReadTextFile(directory, path, text, maxBytes);
  if (error == ENOENT) return nullptr;
  if (error != 0) KJ_FAIL_SYSCALL("read", error, path);
  return kj::mv(text);
}

kj::String readTextFile(int directory, kj::StringPtr path, size_t maxBytes) {
  return KJ_REQUIRE_NONNULL(readTextFileIfExists(directory, path, maxBytes), "No such file.", path);
}

int tryWriteTextFile(int directory, kj::StringPtr path, kj::StringPtr text) {
  int fd = openat(directory, path.cStr(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  kj::AutoCloseFd file(fd);
  return write(file, text.begin(), text.size()) < 0 ? errno : 0;
}

void writeTextFile(int directory, kj::StringPtr path, kj::StringPtr text) {
  int error = tryWriteTextFile(directory, path, text);
  if (error != 0) KJ_FAIL_SYSCALL("write", error, path, text);
}

kj::Maybe<uint64_t> numberAfterKey(kj::StringPtr text, kj::StringPtr key) {
  while (text.size() > 0) {
    if (text.startsWith(key) && text[key.size()] == ' ') {
      return uint64_t(strtoull(text.cStr() + key.size() + 1, nullptr, 10));
    }
    KJ_IF_MAYBE (end, text.findFirst('\n')) {
      text = text.slice(*end + 1);
    } else {
      break;
    }
  }
  return nullptr;
}

}  // namespace belay::shim
