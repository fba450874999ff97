// See unix-socket.h.
#include "supervisor/unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// While a belayd is replaced by the next, clients wait here.
constexpr int BACKLOG = SOMAXCONN;

struct Place {
  kj::AutoCloseFd folder;
  kj::String name;
};

Place placeOf(kj::StringPtr path) {
  size_t slash = KJ_REQUIRE_NONNULL(path.findLast('/'), "the socket's path is not absolute", path);
  auto folder = slash == 0 ? kj::str("/") : kj::heapString(path.slice(0, slash));
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = open(folder.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    default:
      fail(Code::UNAVAILABLE, "cannot open ", folder, ", the folder of socket ", path, ": ",
           strerror(error));
  }
  return {kj::AutoCloseFd(fd), kj::str(path.slice(slash + 1))};
}

// By way of the folder's descriptor: sun_path has 107 bytes only (unix(7)).
sockaddr_un addressOf(const Place& place) {
  sockaddr_un address{.sun_family = AF_UNIX};
  auto path = kj::str("/proc/self/fd/", place.folder.get(), '/', place.name);
  KJ_REQUIRE(path.size() < sizeof(address.sun_path), "the socket's name is too long", place.name);
  memcpy(address.sun_path, path.cStr(), path.size() + 1);
  return address;
}

kj::AutoCloseFd newSocket() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return kj::AutoCloseFd(fd);
}

bool tryConnect(int socket, const Place& place) {
  auto address = addressOf(place);
  KJ_SYSCALL_HANDLE_ERRORS(
      connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address))) {
    case ECONNREFUSED:
    case ENOENT:
      return false;
    case EAGAIN:  // its backlog is full: somebody is there
      return true;
    default:
      KJ_FAIL_SYSCALL("connect", error, place.name);
  }
  return true;
}

void removeDeadSocket(kj::StringPtr path, const Place& place) {
  struct stat stats;
  if (fstatat(place.folder, place.name.cStr(), &stats, AT_SYMLINK_NOFOLLOW) < 0) return;
  if (!S_ISSOCK(stats.st_mode)) {
    fail(Code::FAILED_PRECONDITION, path, " is in the way of belayd's socket and is no socket");
  }
  if (tryConnect(newSocket(), place)) {
    fail(Code::FAILED_PRECONDITION, "somebody listens on ", path,
         " already; give another --listen, or stop that one");
  }
  KJ_SYSCALL(unlinkat(place.folder, place.name.cStr(), 0), path);
}

void makeFolders(kj::StringPtr path) {
  for (size_t end = 1; end < path.size(); ++end) {
    if (path[end] != '/') continue;
    // What cannot be made is reported when it is opened.
    mkdir(kj::heapString(path.slice(0, end)).cStr(), 0755);
  }
}

}  // namespace

kj::AutoCloseFd listenOnUnixSocket(kj::StringPtr path, mode_t mode) {
  makeFolders(path);
  auto place = placeOf(path);
  removeDeadSocket(path, place);
  auto socket = newSocket();
  auto address = addressOf(place);
  // Nobody may connect before the mode is right. No thread runs yet that makes files.
  mode_t before = umask(~mode & 0777);
  KJ_DEFER(umask(before));
  KJ_SYSCALL(bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), path);
  KJ_SYSCALL(listen(socket, BACKLOG), path);
  return socket;
}

kj::AutoCloseFd connectToUnixSocket(kj::StringPtr path) {
  auto place = placeOf(path);
  auto socket = newSocket();
  if (!tryConnect(socket, place)) {
    fail(Code::UNAVAILABLE, "nobody listens on ", path, ": is belayd running?");
  }
  return socket;
}

}  // namespace belay::supervisor
