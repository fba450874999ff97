// What is where in a tar archive of an image, and reading pieces of it.
#pragma once

#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>
#include <stdint.h>

namespace belay::snapshot {

class ArchiveIndex {
 public:
  // Of one archive; images have a file for each blob and a few more.
  static constexpr size_t MAX_FILES = 100'000;

  struct Member {
    uint64_t offset;
    uint64_t sizeBytes;
  };

  // Goes over the headers of the tar archive in `file`, a regular file. Throws a pull error
  // UNSUPPORTED for a compressed archive or one that cannot be seeked in, INVALID for a broken one.
  explicit ArchiveIndex(kj::AutoCloseFd file);

  // A regular file of the archive; null when there is none of that name. Links are followed.
  kj::Maybe<Member> find(kj::StringPtr name) const;

  // The same, NOT_FOUND with a sentence instead of null.
  Member require(kj::StringPtr name) const;

  // All bytes of a member; throws INVALID when there are more than `maxBytes`.
  kj::Array<const kj::byte> read(const Member& member, uint64_t maxBytes) const;

  // Copies a member into the file `target`, from its beginning.
  void copy(const Member& member, int target) const;

  int fd() const { return file; }

 private:
  kj::AutoCloseFd file;
  kj::HashMap<kj::String, Member> members;
  kj::HashMap<kj::String, kj::String> links;
};

}  // namespace belay::snapshot
