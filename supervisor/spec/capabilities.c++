// Capabilities by name, and the five sets of a container's process.
#include "supervisor/spec/capabilities.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

// By number, as linux/capability.h counts them.
constexpr const char* NAMES[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

constexpr uint64_t bit(int capability) {
  return 1ull << capability;
}

constexpr uint64_t DEFAULT_SET = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) |
                                 bit(CAP_FSETID) | bit(CAP_KILL) | bit(CAP_SETGID) |
                                 bit(CAP_SETUID) | bit(CAP_SETPCAP) | bit(CAP_NET_BIND_SERVICE) |
                                 bit(CAP_NET_RAW) | bit(CAP_SYS_CHROOT) | bit(CAP_MKNOD) |
                                 bit(CAP_AUDIT_WRITE) | bit(CAP_SETFCAP);

struct Wanted {
  bool all = false;
  uint64_t bits = 0;
};

Wanted parse(kj::StringPtr field, capnp::List<capnp::Text>::Reader names) {
  Wanted wanted;
  for (kj::StringPtr name : names) {
    if (strcasecmp(name.cStr(), "ALL") == 0) {
      wanted.all = true;
    } else KJ_IF_MAYBE (found, capabilityBit(name)) {
      wanted.bits |= *found;
    } else {
      refuse(field, "there is no capability \"", name, "\"");
    }
  }
  return wanted;
}

}  // namespace

kj::Maybe<uint64_t> capabilityBit(kj::StringPtr name) {
  if (strncasecmp(name.cStr(), "CAP_", 4) == 0) name = name.slice(4);
  for (size_t i = 0; i < kj::size(NAMES); ++i) {
    if (strcasecmp(NAMES[i], name.cStr()) == 0) return 1ull << i;
  }
  return nullptr;
}

uint64_t defaultCapabilities() {
  return DEFAULT_SET;
}

uint64_t readOwnCapabilities() {
  int fd;
  KJ_SYSCALL(fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  kj::AutoCloseFd status(fd);
  char text[4096];
  ssize_t size;
  KJ_SYSCALL(size = read(status, text, sizeof(text) - 1));
  text[size] = '\0';
  const char* line = strstr(text, "\nCapPrm:");
  KJ_REQUIRE(line != nullptr, "/proc/self/status has no CapPrm");
  return strtoull(line + strlen("\nCapPrm:"), nullptr, 16);
}

void fillCapabilities(shim::Capabilities::Builder sets, SecurityContext::Reader security,
                      uint64_t available) {
  auto add = parse("capabilities.add_capabilities", security.getAddCapabilities());
  auto drop = parse("capabilities.drop_capabilities", security.getDropCapabilities());
  auto ambient =
      parse("capabilities.add_ambient_capabilities", security.getAddAmbientCapabilities());

  if (((add.bits | ambient.bits) & ~available) != 0) {
    snapshot::fail(snapshot::Code::FAILED_PRECONDITION,
                   "capabilities: a capability is asked for that belayd does not have itself");
  }

  uint64_t bits = DEFAULT_SET;
  if (add.all) bits = ~0ull;
  if (drop.all) bits = 0;
  bits = (bits | add.bits) & ~drop.bits;
  if (security.getPrivileged()) bits = ~0ull;
  uint64_t ambientBits = (ambient.all ? ~0ull : ambient.bits) & available;
  bits = (bits & available) | ambientBits;

  sets.setBounding(bits);
  sets.setPermitted(bits);
  sets.setEffective(bits);
  sets.setInheritable(ambientBits);
  sets.setAmbient(ambientBits);
}

}  // namespace belay::supervisor
