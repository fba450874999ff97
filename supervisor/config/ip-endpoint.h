// An IP address with a port, as a setting gives it: nothing is looked up.
#pragma once

#include <kj/common.h>
#include <kj/string.h>
#include <sys/socket.h>

#include <cstdint>

namespace belay::supervisor {

class IpEndpoint {
 public:
  // "127.0.0.1:80" or "[::1]:80"; nothing if it is neither.
  static kj::Maybe<IpEndpoint> tryParse(kj::StringPtr text);

  // What a socket is bound to. getsockname(2).
  static IpEndpoint ofSocket(int fd);

  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage); }
  socklen_t size() const { return length; }
  int family() const { return storage.ss_family; }
  bool isLoopback() const;

  // Whether it is what a setting asks for, whose port 0 means any.
  bool fits(const IpEndpoint& setting) const;

  // As in a URL of this machine's own clients: the loopback address stands for "any address".
  kj::String forLocalUrl() const;

  // What tryParse() takes.
  kj::String toString() const;

 private:
  sockaddr_storage storage = {};
  socklen_t length = 0;

  bool isAny() const;
  uint16_t port() const;
};

}  // namespace belay::supervisor
