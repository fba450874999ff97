// What the host and the configuration say, alike for all pods.
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "supervisor/spec/capabilities.h"
#include "supervisor/spec/spec.h"

namespace belay::supervisor {

namespace {

kj::String readHostname() {
  char name[256] = {};
  KJ_SYSCALL(gethostname(name, sizeof(name) - 1));
  return kj::str(name);
}

// First bytes of a small file of the kernel's; empty when there is none.
kj::String readWord(const char* path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  kj::AutoCloseFd file(fd);
  char text[32];
  ssize_t size = read(file, text, sizeof(text));
  while (size > 0 && text[size - 1] == '\n')
    --size;
  return size > 0 ? kj::heapString(text, size) : nullptr;
}

bool hasSelinux() {
  struct statfs info;
  return statfs("/sys/fs/selinux", &info) == 0 && info.f_type == SELINUX_MAGIC;
}

}  // namespace

SpecOptions specOptions(const Config& config) {
  SpecOptions options;
  options.cgroupRoot = kj::str(config.cgroupRoot);
  options.cgroupDriver = config.cgroupDriver;
  options.shmBytes = config.shmBytes;
  options.maxLogLineBytes = config.maxLogLineBytes;
  options.seccompByDefault = config.seccompByDefault;
  options.unprivilegedPorts = config.unprivilegedPorts;
  options.unprivilegedIcmp = config.unprivilegedIcmp;
  options.capabilities = readOwnCapabilities();
  // Without the capability the kernel refuses to go below what one has.
  bool mayLower = (options.capabilities & (1ull << CAP_SYS_RESOURCE)) != 0;
  if (config.restrictOomScoreAdj || !mayLower) {
    options.oomScoreAdjFloor = readWord("/proc/self/oom_score_adj").parseAs<int32_t>();
  }
  options.hostname = readHostname();
  options.selinux = hasSelinux();
  return options;
}

}  // namespace belay::supervisor
