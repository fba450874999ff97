// See tar-header.h.
#include "snapshot/pull/tar-header.h"

#include <kj/debug.h>
#include <string.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

using Block = kj::ArrayPtr<const kj::byte>;

// Fields, by offset and length (POSIX, "Table: ustar Header Block").
constexpr size_t NAME = 0, NAME_BYTES = 100;
constexpr size_t MODE = 100, UID = 108, GID = 116, ID_BYTES = 8;
constexpr size_t SIZE = 124, MTIME = 136, LONG_BYTES = 12;
constexpr size_t CHECKSUM = 148, CHECKSUM_BYTES = 8;
constexpr size_t TYPE = 156;
constexpr size_t LINK = 157, LINK_BYTES = 100;
constexpr size_t MAGIC = 257;
constexpr size_t MAJOR = 329, MINOR = 337;
constexpr size_t PREFIX = 345, PREFIX_BYTES = 155;

// Text up to the first NUL or the field's end.
kj::String text(Block block, size_t offset, size_t length) {
  auto field = block.slice(offset, offset + length);
  size_t end = strnlen(reinterpret_cast<const char*>(field.begin()), length);
  return kj::heapString(field.slice(0, end).asChars());
}

// GNU's binary numbers, for what octal digits cannot hold: the first bit says so, the second is the
// sign, big-endian two's complement follows.
int64_t base256(Block field, kj::StringPtr what) {
  kj::byte inverse = field[0] & 0x40 ? 0xff : 0;
  uint64_t value = 0;
  for (size_t i = 0; i < field.size(); ++i) {
    kj::byte b = field[i] ^ inverse;
    if (i == 0) b &= 0x7f;
    if (value >> 55 != 0) failPull(FailureCode::INVALID, "a tar header's ", what, " is too large");
    value = value << 8 | b;
  }
  return static_cast<int64_t>(inverse == 0 ? value : ~value);
}

// Octal digits, blanks around them and a NUL or blank after them allowed; an empty field is 0.
kj::Maybe<int64_t> tryOctal(Block field) {
  size_t i = 0;
  while (i < field.size() && field[i] == ' ')
    ++i;
  int64_t value = 0;
  for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i)
    value = value * 8 + field[i] - '0';
  if (i < field.size() && field[i] != ' ' && field[i] != '\0') return nullptr;
  return value;
}

int64_t number(Block block, size_t offset, size_t length, kj::StringPtr what) {
  auto field = block.slice(offset, offset + length);
  if (field[0] & 0x80) return base256(field, what);
  KJ_IF_MAYBE (value, tryOctal(field)) {
    return *value;
  }
  failPull(FailureCode::INVALID, "a tar header's ", what, " is not a number");
}

uint64_t unsignedNumber(Block block, size_t offset, size_t length, kj::StringPtr what) {
  int64_t value = number(block, offset, length, what);
  if (value < 0) failPull(FailureCode::INVALID, "a tar header's ", what, " is negative");
  return value;
}

bool isAllZero(Block block) {
  for (kj::byte b : block) {
    if (b != 0) return false;
  }
  return true;
}

// The sum of all bytes with blanks in place of the sum; some old programs took bytes as signed.
void requireChecksum(Block block) {
  // No sum is negative, so a field that is no number matches none.
  int64_t expected = tryOctal(block.slice(CHECKSUM, CHECKSUM + CHECKSUM_BYTES)).orDefault(-1);
  int64_t sum = 0;
  int64_t signedSum = 0;
  for (size_t i = 0; i < TAR_BLOCK_BYTES; ++i) {
    bool inChecksum = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_BYTES;
    kj::byte b = inChecksum ? ' ' : block[i];
    sum += b;
    signedSum += static_cast<signed char>(b);
  }
  if (sum != expected && signedSum != expected) {
    failPull(FailureCode::INVALID, "a tar header's checksum is wrong: this is no tar archive");
  }
}

bool hasMagic(Block block, const char (&magic)[9]) {
  return memcmp(block.begin() + MAGIC, magic, 8) == 0;
}

}  // namespace

kj::Maybe<TarHeader> parseTarHeader(Block block) {
  KJ_REQUIRE(block.size() == TAR_BLOCK_BYTES);
  if (isAllZero(block)) return nullptr;
  requireChecksum(block);

  TarHeader header{};
  header.type = static_cast<char>(block[TYPE]);
  header.path = text(block, NAME, NAME_BYTES);
  header.linkPath = text(block, LINK, LINK_BYTES);
  header.mode = unsignedNumber(block, MODE, ID_BYTES, "mode") & 07777;
  header.uid = unsignedNumber(block, UID, ID_BYTES, "uid");
  header.gid = unsignedNumber(block, GID, ID_BYTES, "gid");
  header.sizeBytes = unsignedNumber(block, SIZE, LONG_BYTES, "size");
  header.mtimeSeconds = number(block, MTIME, LONG_BYTES, "modification time");

  bool gnu = hasMagic(block, "ustar  \0");
  bool posix = hasMagic(block,
                        "ustar\0"
                        "00");
  if (gnu || posix) {
    header.deviceMajor = unsignedNumber(block, MAJOR, ID_BYTES, "device number");
    header.deviceMinor = unsignedNumber(block, MINOR, ID_BYTES, "device number");
  }
  // GNU keeps times where POSIX has the prefix.
  if (posix && block[PREFIX] != 0) {
    header.path = kj::str(text(block, PREFIX, PREFIX_BYTES), '/', header.path);
  }
  if (header.type == '\0' && header.path.endsWith("/")) header.type = '5';
  return kj::mv(header);
}

}  // namespace belay::snapshot
