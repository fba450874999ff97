// Reads a tar archive entry by entry from a stream: ustar, pax (path, linkpath, size, uid, gid,
// mtime, SCHILY.xattr.*), GNU long names. It knows nothing of file systems; layer-writer.h puts
// entries on disk, and import reads archives of images with it.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <stdint.h>
#include <time.h>

#include "snapshot/pull/tar-header.h"

namespace belay::snapshot {

enum class TarType { FILE, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO };

struct TarEntry {
  struct Xattr {
    kj::String name;
    kj::Array<char> value;
  };

  TarType type;
  kj::String path;        // as written in the archive; no NUL inside
  kj::String linkTarget;  // of HARD_LINK and SYMLINK
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint64_t sizeBytes;  // of FILE; 0 for all others
  struct timespec mtime;
  uint32_t deviceMajor;
  uint32_t deviceMinor;
  kj::Vector<Xattr> xattrs;
};

// Every number, name and length comes from a stranger. Bounds: an entry's extended headers have at
// most MAX_EXTENSION_BYTES, a name at most MAX_NAME_BYTES; an entry's content is streamed and takes
// no memory.
class TarReader {
 public:
  static constexpr size_t MAX_EXTENSION_BYTES = 1024 * 1024;
  static constexpr size_t MAX_NAME_BYTES = 4096;

  // `input` must outlive the reader.
  explicit TarReader(kj::InputStream& input);

  // The next entry, after whatever is left of the last one's content; null at the end of the
  // archive. Throws a pull error INVALID for what is no tar archive or ends in the middle, and
  // UNSUPPORTED for entries that cannot be represented (sparse files, multi-volume parts).
  kj::Maybe<TarEntry> next();

  // The next piece of the current entry's content, valid until the next call; empty at its end.
  kj::ArrayPtr<const kj::byte> content();

  // Where in the stream the content of the current entry begins, in bytes.
  uint64_t contentOffset() const { return entryOffset; }

  // Reads the rest of the input, up to `maxBytes`, and forgets it: after the end of an archive come
  // blocks of padding, which whoever feeds the pipe wants to be rid of. Throws when there is more.
  void drain(uint64_t maxBytes);

  // Bytes read from the input so far, padding and headers included.
  uint64_t bytesRead() const { return consumed; }

 private:
  struct Extension;

  kj::ArrayPtr<const kj::byte> buffered();
  void consume(size_t n);
  bool tryReadBlock(kj::ArrayPtr<kj::byte> block);
  void skip(uint64_t n);
  void finishContent();
  kj::Array<kj::byte> readExtension(const TarHeader& header);
  kj::String readLongName(const TarHeader& header);
  void readPax(const TarHeader& header, Extension& extension);
  TarEntry makeEntry(TarHeader header, Extension extension);

  kj::InputStream& input;
  kj::Array<kj::byte> buffer;
  kj::ArrayPtr<const kj::byte> available;
  uint64_t consumed = 0;
  uint64_t entryOffset = 0;
  uint64_t contentLeft = 0;
  uint64_t paddingLeft = 0;
  bool ended = false;
};

}  // namespace belay::snapshot
