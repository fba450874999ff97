// See text-file.h.
#include "supervisor/text-file.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <unistd.h>

namespace belay::supervisor {

namespace {

kj::String readAll(kj::AutoCloseFd file, kj::StringPtr name, size_t limitBytes) {
  kj::Vector<char> text;
  char buffer[4096];
  for (;;) {
    ssize_t count;
    KJ_SYSCALL(count = read(file, buffer, sizeof(buffer)), name);
    if (count == 0) break;
    KJ_REQUIRE(text.size() + count <= limitBytes, "the file is too long", name, limitBytes);
    text.addAll(buffer, buffer + count);
  }
  text.add('\0');
  return kj::String(text.releaseAsArray());
}

}  // namespace

kj::String readTextFile(kj::StringPtr path, size_t limitBytes) {
  int file;
  KJ_SYSCALL(file = open(path.cStr(), O_RDONLY | O_CLOEXEC), path);
  return readAll(kj::AutoCloseFd(file), path, limitBytes);
}

kj::String readTextFileAt(int folder, kj::StringPtr name, size_t limitBytes) {
  int file;
  KJ_SYSCALL(file = openat(folder, name.cStr(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW), name);
  return readAll(kj::AutoCloseFd(file), name, limitBytes);
}

kj::Vector<kj::String> splitText(kj::StringPtr text, char separator) {
  kj::Vector<kj::String> parts;
  size_t start = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != separator) continue;
    if (i > start) parts.add(kj::heapString(text.slice(start, i)));
    start = i + 1;
  }
  return parts;
}

}  // namespace belay::supervisor
