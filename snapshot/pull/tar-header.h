// The 512-byte header block of a tar archive: V7, POSIX ustar and GNU (tar(5), POSIX pax "ustar
// Interchange Format").
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/string.h>
#include <stdint.h>

namespace belay::snapshot {

constexpr size_t TAR_BLOCK_BYTES = 512;

struct TarHeader {
  char type;        // as in the block; a V7 directory ('\0' and a trailing slash) is given as '5'
  kj::String path;  // prefix and name joined
  kj::String linkPath;  // of hard and symbolic links
  uint32_t mode;        // permission bits with setuid, setgid and sticky
  uint64_t uid;
  uint64_t gid;
  uint64_t sizeBytes;
  int64_t mtimeSeconds;
  uint32_t deviceMajor;
  uint32_t deviceMinor;
};

// Reads one block; null for a block of zeroes, of which two end an archive. Throws a pull error
// INVALID when the checksum or a number is wrong.
kj::Maybe<TarHeader> parseTarHeader(kj::ArrayPtr<const kj::byte> block);

}  // namespace belay::snapshot
