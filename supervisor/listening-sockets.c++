// See listening-sockets.h.
#include "supervisor/listening-sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>

#include "snapshot/failure.h"
#include "supervisor/config/ip-endpoint.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

template <typename... Rest>
[[noreturn]] void refuse(const GivenDescriptor& given, Rest&&... rest) {
  fail(Code::FAILED_PRECONDITION, "the descriptor given as \"", given.name, "\" (number ",
       given.fd.get(), ") ", kj::fwd<Rest>(rest)...);
}

int socketOption(const GivenDescriptor& given, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  if (getsockopt(given.fd, SOL_SOCKET, option, &value, &size) < 0) {
    refuse(given, "is no socket: ", strerror(errno));
  }
  return value;
}

void requireListening(const GivenDescriptor& given) {
  if (socketOption(given, SO_TYPE) != SOCK_STREAM) refuse(given, "is no stream socket");
  if (socketOption(given, SO_ACCEPTCONN) == 0) refuse(given, "does not listen");
}

void requireUnix(const GivenDescriptor& given) {
  if (socketOption(given, SO_DOMAIN) != AF_UNIX) refuse(given, "is no Unix socket");
}

void requireFits(const GivenDescriptor& given, const Config& config) {
  int family = socketOption(given, SO_DOMAIN);
  if (family != AF_INET && family != AF_INET6) refuse(given, "is no TCP socket");
  auto wanted = KJ_REQUIRE_NONNULL(IpEndpoint::tryParse(config.streamingAddress));
  auto actual = IpEndpoint::ofSocket(given.fd);
  if (!actual.fits(wanted)) {
    refuse(given, "listens on ", actual.toString(), ", but streaming.address is ",
           config.streamingAddress);
  }
}

void makeNonblocking(int fd) {
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  KJ_SYSCALL(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

}  // namespace

ListeningSockets takeListeningSockets(kj::Vector<GivenDescriptor>& given, const Config& config) {
  ListeningSockets sockets;
  kj::Vector<GivenDescriptor> rest;
  auto take = [](kj::Maybe<kj::AutoCloseFd>& place, GivenDescriptor& one) {
    if (place != nullptr) refuse(one, "is the second of that name");
    makeNonblocking(one.fd);
    place = kj::mv(one.fd);
  };
  for (auto& one : given) {
    if (one.name == "cri" || one.name == "admin") {
      requireListening(one);
      requireUnix(one);
      take(one.name == "cri" ? sockets.cri : sockets.admin, one);
    } else if (one.name == "streaming") {
      requireListening(one);
      requireFits(one, config);
      take(sockets.streaming, one);
    } else {
      rest.add(kj::mv(one));
    }
  }
  given = kj::mv(rest);
  return sockets;
}

}  // namespace belay::supervisor
