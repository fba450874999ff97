// Small helpers over file system calls that take folders as descriptors.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <sys/stat.h>

namespace belay::snapshot {

// openat(2), always close-on-exec; throws with the name in the message.
kj::AutoCloseFd openAt(int folder, kj::StringPtr name, int flags, mode_t mode = 0);
// Null when there is no such entry (ENOENT, ENOTDIR).
kj::Maybe<kj::AutoCloseFd> tryOpenAt(int folder, kj::StringPtr name, int flags, mode_t mode = 0);

// mkdirat(2) unless it is there, then opened for fd-relative use (O_RDONLY | O_DIRECTORY |
// O_NOFOLLOW).
kj::AutoCloseFd makeFolder(int parent, kj::StringPtr name, mode_t mode);

// mkdir -p and open; for absolute paths of belay's own.
kj::AutoCloseFd makeFolders(kj::StringPtr path, mode_t mode);

// fstatat(2) without following; null when there is no such entry.
kj::Maybe<struct stat> tryStat(int folder, kj::StringPtr name);

// Names in a folder, without "." and "..", in no order.
kj::Vector<kj::String> namesIn(int folder);

// The contents of a regular file; null when it is not there. Throws FAILED_PRECONDITION when it is
// longer than `limitBytes` or no regular file (a FIFO would block the reader).
kj::Maybe<kj::String> tryReadFile(int folder, kj::StringPtr name, size_t limitBytes);

// Makes a file with these contents; it must not exist.
void writeNewFile(int folder, kj::StringPtr name, kj::StringPtr contents, mode_t mode);

// True for names that are one component of a path and neither hidden nor special: the keys and ids
// that belay makes folders of.
bool isPlainName(kj::StringPtr name);

}  // namespace belay::snapshot
