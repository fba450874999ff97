// Compiled system call filters, cached.
#include "supervisor/spec/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <linux/filter.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/spec/check.h"
#include "supervisor/spec/seccomp-compile.h"
#include "supervisor/spec/seccomp-json.h"
#include "supervisor/spec/seccomp-profile.h"

namespace belay::supervisor {

namespace {

constexpr size_t MAX_PROFILE_BYTES = 1 << 20;
constexpr size_t MAX_PROGRAM_BYTES = BPF_MAXINSNS * sizeof(sock_filter);
// Each is some KB to 32 KiB. A node has a handful.
constexpr size_t MAX_IN_MEMORY = 64;

kj::AutoCloseFd openFolder(kj::StringPtr path) {
  if (mkdir(path.cStr(), 0700) < 0 && errno != EEXIST) {
    KJ_FAIL_SYSCALL("mkdir", errno, "cannot make the folder of compiled seccomp filters", path);
  }
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

// A profile means another program to another libseccomp.
kj::String keyOf(const SeccompProfile& profile) {
  auto version = seccomp_version();
  auto text = kj::str(version->major, ".", version->minor, ".", version->micro, " ",
                      kj::hex(seccomp_arch_native()), "\n", profile.canonical());
  kj::byte digest[SHA256_DIGEST_LENGTH];
  SHA256(text.asBytes().begin(), text.size(), digest);
  return kj::encodeHex(kj::arrayPtr(digest, sizeof(digest)));
}

kj::Array<kj::byte> readAll(int fd, size_t size) {
  auto bytes = kj::heapArray<kj::byte>(size);
  size_t got = kj::FdInputStream(fd).tryRead(bytes.begin(), size, size);
  return kj::heapArray<kj::byte>(bytes.slice(0, got));
}

using Checksum = kj::byte[SHA256_DIGEST_LENGTH];

// A file is the program's checksum and the program: after a power cut it may hold anything. What
// does not fit is compiled anew.
kj::Maybe<kj::Array<kj::byte>> load(int folder, kj::StringPtr key) {
  int fd = openat(folder, key.cStr(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return nullptr;
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info));
  bool sound = S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
               info.st_size > sizeof(Checksum) &&
               info.st_size <= sizeof(Checksum) + MAX_PROGRAM_BYTES;
  if (!sound) return nullptr;
  auto bytes = readAll(file, info.st_size);
  if (bytes.size() <= sizeof(Checksum)) return nullptr;
  auto program = bytes.slice(sizeof(Checksum), bytes.size());
  Checksum checksum;
  SHA256(program.begin(), program.size(), checksum);
  if (memcmp(checksum, bytes.begin(), sizeof(checksum)) != 0) return nullptr;
  return kj::heapArray<kj::byte>(program);
}

// Best effort: without the file the next daemon compiles again.
void store(int folder, kj::StringPtr key, kj::ArrayPtr<const kj::byte> program) {
  auto temporary = kj::str(key, ".new");
  int fd =
      openat(folder, temporary.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  kj::AutoCloseFd file(fd);
  Checksum checksum;
  SHA256(program.begin(), program.size(), checksum);
  bool written = write(file, checksum, sizeof(checksum)) == sizeof(checksum) &&
                 write(file, program.begin(), program.size()) == (ssize_t)program.size();
  if (!written || renameat(folder, temporary.cStr(), folder, key.cStr()) < 0) {
    unlinkat(folder, temporary.cStr(), 0);
  }
}

SeccompProfile readLocalhost(kj::StringPtr reference, uint64_t capabilities) {
  auto path = cleanPath("seccomp.localhost_ref", reference);
  auto complain = [&](const char* why) { refuse("seccomp.localhost_ref", path, ": ", why); };
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) complain(strerror(errno));
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info), path);
  if (!S_ISREG(info.st_mode)) complain("is not a regular file");
  if (info.st_size > MAX_PROFILE_BYTES) complain("is larger than 1 MiB");
  auto text = kj::str(readAll(file, info.st_size).asChars());
  SeccompProfile profile;
  // Of the many things that can be wrong with a file, which file it is has to be said first.
  KJ_IF_MAYBE (failure, kj::runCatchingExceptions([&] {
                 profile = parseSeccompJson(text, SeccompCircumstances::here(capabilities));
               })) {
    complain(snapshot::messageOf(*failure).cStr());
  }
  return profile;
}

}  // namespace

SeccompFilters::SeccompFilters(kj::Maybe<kj::StringPtr> cacheFolder) {
  KJ_IF_MAYBE (path, cacheFolder) {
    folder = openFolder(*path);
  }
}

SeccompFilter SeccompFilters::filter(SecurityProfile::Reader wanted, uint64_t capabilities) {
  SeccompProfile profile;
  switch (wanted.getKind()) {
    case SecurityProfile::Kind::UNSET:
    case SecurityProfile::Kind::UNCONFINED:
      return {};
    case SecurityProfile::Kind::RUNTIME_DEFAULT:
      profile = defaultProfile(capabilities);
      break;
    case SecurityProfile::Kind::LOCALHOST:
      profile = readLocalhost(wanted.getLocalhostRef(), capabilities);
      break;
  }
  return {compiledForm(profile), profile.flags, kj::mv(profile.listenerPath),
          kj::mv(profile.listenerMetadata)};
}

kj::ArrayPtr<const kj::byte> SeccompFilters::compiledForm(const SeccompProfile& profile) {
  auto key = keyOf(profile);
  KJ_IF_MAYBE (known, compiled.find(kj::StringPtr(key))) {
    return *known;
  }
  if (compiled.size() >= MAX_IN_MEMORY) compiled.clear();

  KJ_IF_MAYBE (cache, folder) {
    KJ_IF_MAYBE (program, load(*cache, key)) {
      return compiled.insert(kj::mv(key), kj::mv(*program)).value;
    }
  }
  auto program = compileSeccomp(profile);
  KJ_IF_MAYBE (cache, folder) {
    store(*cache, key, program);
  }
  return compiled.insert(kj::mv(key), kj::mv(program)).value;
}

}  // namespace belay::supervisor
