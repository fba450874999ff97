// Counters of a network namespace's interfaces, asked of the kernel from outside the namespace.
#pragma once

#include <kj/array.h>
#include <kj/vector.h>
#include <stdint.h>

namespace belay::shim {

struct InterfaceCounters {
  kj::Array<kj::byte> name;  // whatever the container called it
  uint64_t rxBytes, rxErrors, txBytes, txErrors;
};

class NetworkUsageReader {
 public:
  // A container may make as many interfaces as it likes.
  static constexpr size_t MAX_INTERFACES = 64;

  // `netns` is borrowed and outlives this object.
  explicit NetworkUsageReader(int netns) : netns(netns) {}

  // Of all interfaces but loopback, in the kernel's order, at most MAX_INTERFACES. Throws what
  // netlink refuses.
  kj::Vector<InterfaceCounters> read();

 private:
  int netns;
  int32_t id = -1;  // of the namespace, in the one of this process; the kernel frees it with it
};

}  // namespace belay::shim
