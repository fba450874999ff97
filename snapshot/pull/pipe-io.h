// Bulk reading and writing for the pipeline modes.
#pragma once

#include <kj/array.h>

namespace belay::snapshot {

// One read or write of the pipeline: large enough that system calls do not count, small enough to
// stay in the second-level cache on its way through three processes.
constexpr size_t PIPE_CHUNK_BYTES = 256 * 1024;

// Reads once, at most `buffer.size()` bytes; 0 at the end of the input.
size_t readSome(int fd, kj::ArrayPtr<kj::byte> buffer);

// Writes all of `bytes`. Throws when the reader is gone.
void writeAll(int fd, kj::ArrayPtr<const kj::byte> bytes);

// Asks for a pipe buffer of PIPE_BUFFER_BYTES, so that both sides sleep and wake seldom. Where `fd`
// is no pipe or the limit of the user is reached, things stay as they are.
void widenPipe(int fd);
constexpr int PIPE_BUFFER_BYTES = 1024 * 1024;

// Whether `fd` is open and something other than /dev/null.
bool isWanted(int fd);

}  // namespace belay::snapshot
