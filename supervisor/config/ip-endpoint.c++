// See ip-endpoint.h.
#include "supervisor/config/ip-endpoint.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <string.h>

namespace belay::supervisor {

namespace {

const in_addr& ipv4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage).sin_addr;
}

const in6_addr& ipv6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
}

kj::Maybe<uint16_t> parsePort(kj::StringPtr text) {
  if (text.size() == 0 || text.size() > 5) return nullptr;
  uint32_t port = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return nullptr;
    port = port * 10 + (c - '0');
  }
  if (port > 65535) return nullptr;
  return static_cast<uint16_t>(port);
}

}  // namespace

kj::Maybe<IpEndpoint> IpEndpoint::tryParse(kj::StringPtr text) {
  KJ_IF_MAYBE (colon, text.findLast(':')) {
    KJ_IF_MAYBE (port, parsePort(text.slice(*colon + 1))) {
      IpEndpoint result;
      auto host = kj::heapString(text.slice(0, *colon));
      if (host.startsWith("[") && host.endsWith("]")) {
        host = kj::heapString(host.slice(1, host.size() - 1));
        auto& address = reinterpret_cast<sockaddr_in6&>(result.storage);
        address.sin6_family = AF_INET6;
        address.sin6_port = htons(*port);
        result.length = sizeof(address);
        if (inet_pton(AF_INET6, host.cStr(), &address.sin6_addr) == 1) return result;
      } else {
        auto& address = reinterpret_cast<sockaddr_in&>(result.storage);
        address.sin_family = AF_INET;
        address.sin_port = htons(*port);
        result.length = sizeof(address);
        if (inet_pton(AF_INET, host.cStr(), &address.sin_addr) == 1) return result;
      }
    }
  }
  return nullptr;
}

IpEndpoint IpEndpoint::ofSocket(int fd) {
  IpEndpoint result;
  result.length = sizeof(result.storage);
  KJ_SYSCALL(getsockname(fd, reinterpret_cast<sockaddr*>(&result.storage), &result.length));
  return result;
}

bool IpEndpoint::isLoopback() const {
  if (family() == AF_INET) return ntohl(ipv4(storage).s_addr) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&ipv6(storage));
}

bool IpEndpoint::isAny() const {
  if (family() == AF_INET) return ipv4(storage).s_addr == htonl(INADDR_ANY);
  return IN6_IS_ADDR_UNSPECIFIED(&ipv6(storage));
}

bool IpEndpoint::fits(const IpEndpoint& setting) const {
  if (family() != setting.family()) return false;
  if (setting.port() != 0 && port() != setting.port()) return false;
  if (family() == AF_INET) return ipv4(storage).s_addr == ipv4(setting.storage).s_addr;
  return IN6_ARE_ADDR_EQUAL(&ipv6(storage), &ipv6(setting.storage));
}

uint16_t IpEndpoint::port() const {
  // The two structs have it in the same place.
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

kj::String IpEndpoint::forLocalUrl() const {
  if (!isAny()) return toString();
  return family() == AF_INET ? kj::str("127.0.0.1:", port()) : kj::str("[::1]:", port());
}

kj::String IpEndpoint::toString() const {
  char text[INET6_ADDRSTRLEN];
  if (family() == AF_INET) {
    return kj::str(inet_ntop(AF_INET, &ipv4(storage), text, sizeof(text)), ':', port());
  }
  return kj::str('[', inet_ntop(AF_INET6, &ipv6(storage), text, sizeof(text)), "]:", port());
}

}  // namespace belay::supervisor
