// See tar-reader.h.
#include "snapshot/pull/tar-reader.h"

#include <kj/debug.h>
#include <string.h>

#include "snapshot/pull/pax-records.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr kj::StringPtr XATTR_PREFIX = "SCHILY.xattr."_kj;

[[noreturn]] void failTruncated() {
  failPull(FailureCode::INVALID, "the tar archive ends in the middle");
}

uint64_t paddingOf(uint64_t size) {
  return -size % TAR_BLOCK_BYTES;
}

// Text that will become a path: no NUL, which would cut it short for the kernel.
kj::String pathText(kj::ArrayPtr<const char> value) {
  if (value.size() > TarReader::MAX_NAME_BYTES || memchr(value.begin(), 0, value.size())) {
    failPull(FailureCode::INVALID, "a name in the tar archive is too long or has a NUL in it");
  }
  return kj::heapString(value);
}

kj::Maybe<TarType> typeOf(char type) {
  switch (type) {
    case '0':
    case '\0':
    case '7':  // contiguous file: an ordinary one today
      return TarType::FILE;
    case '1':
      return TarType::HARD_LINK;
    case '2':
      return TarType::SYMLINK;
    case '3':
      return TarType::CHARACTER_DEVICE;
    case '4':
      return TarType::BLOCK_DEVICE;
    case '5':
      return TarType::DIRECTORY;
    case '6':
      return TarType::FIFO;
    default:
      return nullptr;
  }
}

uint32_t requireId(uint64_t id, kj::StringPtr path) {
  // The highest value means "no change" to chown(2).
  if (id >= UINT32_MAX) {
    failPull(FailureCode::INVALID, "the owner of ", path, " is out of range");
  }
  return static_cast<uint32_t>(id);
}

}  // namespace

// What extended headers said about the entry to come; it overrides the header's own fields.
struct TarReader::Extension {
  kj::Maybe<kj::String> path;
  kj::Maybe<kj::String> linkPath;
  kj::Maybe<uint64_t> sizeBytes;
  kj::Maybe<uint64_t> uid;
  kj::Maybe<uint64_t> gid;
  kj::Maybe<struct timespec> mtime;
  kj::Vector<TarEntry::Xattr> xattrs;
};

TarReader::TarReader(kj::InputStream& input)
    : input(input), buffer(kj::heapArray<kj::byte>(PIPE_CHUNK_BYTES)) {}

kj::ArrayPtr<const kj::byte> TarReader::buffered() {
  if (available.size() == 0) {
    available = buffer.slice(0, input.tryRead(buffer.begin(), 1, buffer.size()));
  }
  return available;
}

void TarReader::consume(size_t n) {
  available = available.slice(n, available.size());
  consumed += n;
}

// False at a clean end of the input.
bool TarReader::tryReadBlock(kj::ArrayPtr<kj::byte> block) {
  size_t have = 0;
  while (have < block.size()) {
    auto piece = buffered();
    if (piece.size() == 0) {
      if (have == 0) return false;
      failTruncated();
    }
    size_t n = kj::min(piece.size(), block.size() - have);
    memcpy(block.begin() + have, piece.begin(), n);
    consume(n);
    have += n;
  }
  return true;
}

void TarReader::skip(uint64_t n) {
  // Beyond the buffer the input may know a shorter way than reading.
  if (n > buffer.size()) {
    uint64_t beyond = n - available.size();
    consume(available.size());
    input.skip(beyond);
    consumed += beyond;
    return;
  }
  while (n > 0) {
    auto piece = buffered();
    if (piece.size() == 0) failTruncated();
    size_t step = kj::min(uint64_t{piece.size()}, n);
    consume(step);
    n -= step;
  }
}

void TarReader::finishContent() {
  skip(contentLeft);
  contentLeft = 0;
  skip(paddingLeft);
  paddingLeft = 0;
}

kj::ArrayPtr<const kj::byte> TarReader::content() {
  if (contentLeft == 0) return nullptr;
  auto piece = buffered();
  if (piece.size() == 0) failTruncated();
  piece = piece.slice(0, kj::min(uint64_t{piece.size()}, contentLeft));
  consume(piece.size());
  contentLeft -= piece.size();
  return piece;
}

// At most MAX_EXTENSION_BYTES; next() has seen to it.
kj::Array<kj::byte> TarReader::readExtension(const TarHeader& header) {
  auto bytes = kj::heapArray<kj::byte>(header.sizeBytes);
  if (bytes.size() > 0 && !tryReadBlock(bytes)) failTruncated();
  skip(paddingOf(header.sizeBytes));
  return bytes;
}

// GNU: the name is the content of an entry of its own, with a NUL at its end.
kj::String TarReader::readLongName(const TarHeader& header) {
  auto bytes = readExtension(header);
  auto chars = bytes.asChars();
  return pathText(chars.slice(0, strnlen(chars.begin(), chars.size())));
}

void TarReader::readPax(const TarHeader& header, Extension& extension) {
  auto records = readExtension(header);
  forEachPaxRecord(records, [&](kj::StringPtr key, kj::ArrayPtr<const char> value) {
    if (key == "path") {
      extension.path = pathText(value);
    } else if (key == "linkpath") {
      extension.linkPath = pathText(value);
    } else if (key == "size") {
      extension.sizeBytes = paxNumber(key, value);
    } else if (key == "uid") {
      extension.uid = paxNumber(key, value);
    } else if (key == "gid") {
      extension.gid = paxNumber(key, value);
    } else if (key == "mtime") {
      extension.mtime = paxTime(key, value);
    } else if (key.startsWith(XATTR_PREFIX)) {
      auto name = key.slice(XATTR_PREFIX.size());
      extension.xattrs.add(TarEntry::Xattr{pathText(name.asArray()), kj::heapArray(value)});
    } else if (key.startsWith("GNU.sparse.")) {
      failPull(FailureCode::UNSUPPORTED, "the tar archive has sparse files");
    }
  });
}

TarEntry TarReader::makeEntry(TarHeader header, Extension extension) {
  TarEntry entry{};
  entry.path = kj::mv(header.path);
  KJ_IF_MAYBE (path, extension.path) {
    entry.path = kj::mv(*path);
  }
  entry.linkTarget = kj::mv(header.linkPath);
  KJ_IF_MAYBE (linkPath, extension.linkPath) {
    entry.linkTarget = kj::mv(*linkPath);
  }
  KJ_IF_MAYBE (type, typeOf(header.type)) {
    entry.type = *type;
  } else {
    failPull(FailureCode::UNSUPPORTED, "the tar archive has an entry of type ",
             static_cast<unsigned>(static_cast<unsigned char>(header.type)), ", ",
             oneLine(entry.path, 256), ", which no image layer may have");
  }
  entry.mode = header.mode;
  entry.uid = requireId(extension.uid.orDefault(header.uid), entry.path);
  entry.gid = requireId(extension.gid.orDefault(header.gid), entry.path);
  entry.mtime = extension.mtime.orDefault({header.mtimeSeconds, 0});
  entry.deviceMajor = header.deviceMajor;
  entry.deviceMinor = header.deviceMinor;
  entry.xattrs = kj::mv(extension.xattrs);

  // Only files have content: writers put a size on links and directories that means nothing.
  if (entry.type == TarType::FILE) {
    entry.sizeBytes = extension.sizeBytes.orDefault(header.sizeBytes);
  }
  entryOffset = consumed;
  contentLeft = entry.sizeBytes;
  paddingLeft = paddingOf(entry.sizeBytes);
  return entry;
}

kj::Maybe<TarEntry> TarReader::next() {
  if (ended) return nullptr;
  finishContent();
  Extension extension;
  bool extended = false;
  uint64_t extensionBytes = 0;
  kj::byte block[TAR_BLOCK_BYTES];
  while (tryReadBlock(block)) {
    KJ_IF_MAYBE (header, parseTarHeader(block)) {
      // One entry may have several extended headers; together they stay within the bound of one.
      if (typeOf(header->type) == nullptr &&
          (extensionBytes += header->sizeBytes) > MAX_EXTENSION_BYTES) {
        failPull(FailureCode::INVALID, "the extended headers of a tar entry are too long");
      }
      switch (header->type) {
        case 'x':
          readPax(*header, extension);
          extended = true;
          break;
        case 'g':
          // Defaults for all entries; image builders put comments there, and like the incumbents we
          // apply none of them.
          readExtension(*header);
          break;
        case 'L':
          extension.path = readLongName(*header);
          extended = true;
          break;
        case 'K':
          extension.linkPath = readLongName(*header);
          extended = true;
          break;
        case 'S':
          failPull(FailureCode::UNSUPPORTED, "the tar archive has sparse files");
        default:
          return makeEntry(kj::mv(*header), kj::mv(extension));
      }
    } else {
      break;
    }
  }
  if (extended) failTruncated();
  ended = true;
  return nullptr;
}

void TarReader::drain(uint64_t maxBytes) {
  for (auto piece = buffered(); piece.size() > 0; piece = buffered()) {
    if (piece.size() > maxBytes) {
      failPull(FailureCode::INVALID, "the tar archive has too many bytes after its end");
    }
    maxBytes -= piece.size();
    consume(piece.size());
  }
}

}  // namespace belay::snapshot
