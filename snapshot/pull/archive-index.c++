// See archive-index.h.
#include "snapshot/pull/archive-index.h"

#include <errno.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/pull/decompress.h"
#include "snapshot/pull/layer-path.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/tar-reader.h"

namespace belay::snapshot {

namespace {

// Docker's old archives link repeated layers to one file; a chain of links is somebody's joke.
constexpr int MAX_LINKS = 4;

size_t readAt(int fd, kj::ArrayPtr<kj::byte> buffer, uint64_t offset) {
  ssize_t n;
  KJ_SYSCALL(n = pread(fd, buffer.begin(), buffer.size(), offset));
  return n;
}

// The archive as a stream that passes over members without reading them.
class SeekingInput final : public kj::InputStream {
 public:
  SeekingInput(int fd, uint64_t size) : fd(fd), size(size) {}

  size_t tryRead(void* buffer, size_t minBytes, size_t maxBytes) override {
    // Headers are what is wanted, and they lie far apart.
    constexpr size_t READ_BYTES = 8 * 1024;
    size_t want = kj::max(minBytes, kj::min(maxBytes, READ_BYTES));
    size_t have = 0;
    while (have < minBytes) {
      auto rest = kj::arrayPtr(static_cast<kj::byte*>(buffer) + have, want - have);
      size_t n = readAt(fd, rest, position);
      if (n == 0) break;
      have += n;
      position += n;
    }
    return have;
  }

  void skip(size_t bytes) override {
    if (bytes > size - kj::min(position, size)) {
      failPull(FailureCode::INVALID, "the tar archive ends in the middle");
    }
    position += bytes;
  }

 private:
  int fd;
  uint64_t size;
  uint64_t position = 0;
};

uint64_t requireSeekable(int fd) {
  struct stat status;
  KJ_SYSCALL(fstat(fd, &status));
  if (!S_ISREG(status.st_mode)) {
    failPull(FailureCode::UNSUPPORTED, "the archive is no regular file; write it to one first");
  }
  return status.st_size;
}

void requirePlain(int fd) {
  kj::byte first[4] = {};
  readAt(fd, first, 0);
  if (compressionOfContent(first) != Compression::NONE) {
    failPull(FailureCode::UNSUPPORTED, "the archive is compressed; decompress it first");
  }
}

// Where a symbolic link in a tar archive leads: relative to the link's own folder.
kj::String resolveLink(kj::StringPtr linkPath, kj::StringPtr target) {
  kj::String folder = splitLayerPath(linkPath).folder;
  while (target.startsWith("../")) {
    folder = splitLayerPath(folder).folder;
    target = target.slice(3);
  }
  return normalLayerPath(kj::str(folder, '/', target));
}

}  // namespace

ArchiveIndex::ArchiveIndex(kj::AutoCloseFd fileParam) : file(kj::mv(fileParam)) {
  uint64_t size = requireSeekable(file);
  requirePlain(file);
  SeekingInput input(file, size);
  TarReader reader(input);
  while (members.size() + links.size() < MAX_FILES) {
    KJ_IF_MAYBE (entry, reader.next()) {
      kj::String path = normalLayerPath(entry->path);
      if (entry->type == TarType::FILE) {
        members.upsert(kj::mv(path), Member{reader.contentOffset(), entry->sizeBytes});
      } else if (entry->type == TarType::SYMLINK) {
        auto target = resolveLink(path, entry->linkTarget);
        links.upsert(kj::mv(path), kj::mv(target));
      } else if (entry->type == TarType::HARD_LINK) {
        auto target = normalLayerPath(entry->linkTarget);
        links.upsert(kj::mv(path), kj::mv(target));
      }
    } else {
      return;
    }
  }
  failPull(FailureCode::INVALID, "the archive has more than ", MAX_FILES, " files");
}

kj::Maybe<ArchiveIndex::Member> ArchiveIndex::find(kj::StringPtr name) const {
  kj::String path = normalLayerPath(name);
  for (int hop = 0; hop <= MAX_LINKS; ++hop) {
    KJ_IF_MAYBE (member, members.find(path)) {
      return *member;
    }
    KJ_IF_MAYBE (target, links.find(path)) {
      path = kj::heapString(*target);
    } else {
      break;
    }
  }
  return nullptr;
}

ArchiveIndex::Member ArchiveIndex::require(kj::StringPtr name) const {
  KJ_IF_MAYBE (member, find(name)) {
    return *member;
  }
  failPull(FailureCode::NOT_FOUND, "the archive has no file ", oneLine(name, 256));
}

kj::Array<const kj::byte> ArchiveIndex::read(const Member& member, uint64_t maxBytes) const {
  if (member.sizeBytes > maxBytes) {
    failPull(FailureCode::INVALID, "a file of the archive has ", member.sizeBytes,
             " bytes; the limit is ", maxBytes);
  }
  auto bytes = kj::heapArray<kj::byte>(member.sizeBytes);
  for (size_t done = 0; done < bytes.size();) {
    size_t n = readAt(file, bytes.slice(done, bytes.size()), member.offset + done);
    if (n == 0) failPull(FailureCode::INVALID, "the archive became shorter while it was read");
    done += n;
  }
  return bytes;
}

void ArchiveIndex::copy(const Member& member, int target) const {
  KJ_SYSCALL(ftruncate(target, 0));
  off_t from = member.offset;
  off_t to = 0;
  uint64_t left = member.sizeBytes;
  // On the same file system this may share blocks instead of copying.
  while (left > 0) {
    ssize_t n = copy_file_range(file, &from, target, &to, left, 0);
    if (n <= 0) break;
    left -= n;
  }
  // Other file systems, older kernels: by hand, from where it stopped.
  auto buffer = kj::heapArray<kj::byte>(left == 0 ? 0 : PIPE_CHUNK_BYTES);
  KJ_SYSCALL(lseek(target, to, SEEK_SET));
  while (left > 0) {
    size_t n = readAt(file, buffer.slice(0, kj::min(uint64_t{buffer.size()}, left)), from);
    if (n == 0) failPull(FailureCode::INVALID, "the archive became shorter while it was read");
    writeAll(target, buffer.slice(0, n));
    from += n;
    left -= n;
  }
}

}  // namespace belay::snapshot
