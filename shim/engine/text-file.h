// Reading and writing the small files of procfs and cgroupfs.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

namespace belay::shim {

// The whole file at `path` below `directory`, or null if there is none. At most `maxBytes` are
// read; more throws, as does every other error.
kj::Maybe<kj::String> readTextFileIfExists(int directory, kj::StringPtr path,
                                           size_t maxBytes = 1 << 20);

// The same, which must exist.
kj::String readTextFile(int directory, kj::StringPtr path, size_t maxBytes = 1 << 20);

// The same into `text`. Returns 0 or the errno (of the opening or a read).
int tryReadTextFile(int directory, kj::StringPtr path, kj::String& text, size_t maxBytes = 1 << 20);

// Writes `text` by one write(2), as the kernel's control files want it. Returns 0 or the errno.
int tryWriteTextFile(int directory, kj::StringPtr path, kj::StringPtr text);

// The same; throws with path, text and errno.
void writeTextFile(int directory, kj::StringPtr path, kj::StringPtr text);

// The number after `key` and a space at the beginning of a line ("oom_kill 3"), or null.
kj::Maybe<uint64_t> numberAfterKey(kj::StringPtr text, kj::StringPtr key);

}  // namespace belay::shim
