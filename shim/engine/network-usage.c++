// Counters of a network namespace's interfaces: rtnetlink(7), with the other namespace as target,
// so that this process need not enter it.
#include "shim/engine/network-usage.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace belay::shim {
namespace {

// The kernel fills at most this much with one part of a dump.
constexpr size_t ANSWER_BYTES = 32 << 10;

// One request with up to two attributes of 32 bits.
class Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    memset(bytes, 0, sizeof(bytes));
    header().nlmsg_type = type;
    header().nlmsg_flags = NLM_F_REQUEST | flags;
    header().nlmsg_len = NLMSG_LENGTH(sizeof(body));
    memcpy(NLMSG_DATA(&header()), &body, sizeof(body));
  }

  void add(uint16_t type, int32_t value) {
    size_t at = NLMSG_ALIGN(header().nlmsg_len);
    struct rtattr attribute = {.rta_len = RTA_LENGTH(sizeof(value)), .rta_type = type};
    memcpy(bytes + at, &attribute, sizeof(attribute));
    memcpy(bytes + at + RTA_LENGTH(0), &value, sizeof(value));
    header().nlmsg_len = at + RTA_LENGTH(sizeof(value));
  }

  void send(int socket) { KJ_SYSCALL(::send(socket, bytes, header().nlmsg_len, 0), "rtnetlink"); }

 private:
  alignas(NLMSG_ALIGNTO) char bytes[128];
  struct nlmsghdr& header() { return *reinterpret_cast<struct nlmsghdr*>(bytes); }
};

// Calls `each` for every message until the answer is complete, it returns false, or the kernel
// refuses. The kernel answers within the call that asks, so that there is nothing to wait for.
template <typename Each>
void receive(int socket, Each&& each) {
  auto buffer = kj::heapArray<uint64_t>(ANSWER_BYTES / sizeof(uint64_t));
  for (;;) {
    ssize_t size;
    KJ_SYSCALL(size = recv(socket, buffer.begin(), ANSWER_BYTES, MSG_DONTWAIT), "rtnetlink");
    int left = size;
    for (auto* message = reinterpret_cast<struct nlmsghdr*>(buffer.begin());
         NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return;
      if (message->nlmsg_type == NLMSG_ERROR) {
        int error = -static_cast<struct nlmsgerr*>(NLMSG_DATA(message))->error;
        if (error == 0) return;
        KJ_FAIL_SYSCALL("rtnetlink", error);
      }
      if (!each(*message)) return;
      if ((message->nlmsg_flags & NLM_F_MULTI) == 0) return;
    }
  }
}

template <typename Each>
void eachAttribute(struct nlmsghdr& message, size_t bodySize, Each&& each) {
  int left = message.nlmsg_len - NLMSG_SPACE(bodySize);
  auto* first = reinterpret_cast<char*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(bodySize);
  for (auto* attribute = reinterpret_cast<struct rtattr*>(first); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    each(*attribute);
  }
}

// The namespace's number as this one's neighbour; -1 if it has none yet.
int32_t findId(int socket, int netns) {
  Request request(RTM_GETNSID, 0, rtgenmsg{.rtgen_family = AF_UNSPEC});
  request.add(NETNSA_FD, netns);
  request.send(socket);
  int32_t id = -1;
  receive(socket, [&](struct nlmsghdr& message) {
    eachAttribute(message, sizeof(rtgenmsg), [&](struct rtattr& attribute) {
      if (attribute.rta_type == NETNSA_NSID) memcpy(&id, RTA_DATA(&attribute), sizeof(id));
    });
    return false;
  });
  return id;
}

void giveId(int socket, int netns) {
  Request request(RTM_NEWNSID, NLM_F_ACK, rtgenmsg{.rtgen_family = AF_UNSPEC});
  request.add(NETNSA_NSID, -1);  // any
  request.add(NETNSA_FD, netns);
  request.send(socket);
  receive(socket, [](struct nlmsghdr&) { return false; });
}

InterfaceCounters countersOf(struct nlmsghdr& message) {
  InterfaceCounters counters = {};
  eachAttribute(message, sizeof(ifinfomsg), [&](struct rtattr& attribute) {
    auto* data = static_cast<const char*>(RTA_DATA(&attribute));
    size_t size = RTA_PAYLOAD(&attribute);
    if (attribute.rta_type == IFLA_IFNAME) {
      counters.name = kj::heapArray(reinterpret_cast<const kj::byte*>(data), strnlen(data, size));
    } else if (attribute.rta_type == IFLA_STATS64) {
      struct rtnl_link_stats64 stats = {};
      memcpy(&stats, data, kj::min(size, sizeof(stats)));
      counters.rxBytes = stats.rx_bytes;
      counters.rxErrors = stats.rx_errors;
      counters.txBytes = stats.tx_bytes;
      counters.txErrors = stats.tx_errors;
    }
  });
  return counters;
}

}  // namespace

kj::Vector<InterfaceCounters> NetworkUsageReader::read() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  kj::AutoCloseFd socket(fd);
  if (id < 0) {
    id = findId(socket, netns);
    if (id < 0) {
      giveId(socket, netns);
      id = findId(socket, netns);
    }
  }
  Request request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{.ifi_family = AF_UNSPEC});
  request.add(IFLA_TARGET_NETNSID, id);
  request.send(socket);

  kj::Vector<InterfaceCounters> interfaces;
  receive(socket, [&](struct nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWLINK) return true;
    auto* info = static_cast<struct ifinfomsg*>(NLMSG_DATA(&message));
    if ((info->ifi_flags & IFF_LOOPBACK) == 0) interfaces.add(countersOf(message));
    // The rest of the dump goes with the socket.
    return interfaces.size() < MAX_INTERFACES;
  });
  return interfaces;
}

}  // namespace belay::shim
