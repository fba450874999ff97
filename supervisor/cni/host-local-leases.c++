// See host-local-leases.h.
#include "supervisor/cni/host-local-leases.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>

#include "snapshot/sys/file.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;

// An id, a line break, an interface's name.
constexpr size_t MAX_LEASE_BYTES = 4096;

constexpr auto DEFAULT_FOLDER = "/var/lib/cni/networks";

// Null when the plug-in's addresses are not host-local's.
kj::Maybe<kj::String> folderOf(const Json& plugin, kj::StringPtr network) {
  auto ipam = plugin.find("ipam");
  if (ipam == plugin.end() || !ipam->is_object()) return nullptr;
  if (ipam->value("type", Json()) != "host-local") return nullptr;
  auto parent = ipam->value("dataDir", Json());
  auto text = parent.is_string() ? parent.get<std::string>() : std::string();
  return kj::str(text.empty() ? DEFAULT_FOLDER : text.c_str(), '/', network);
}

// IPv6 addresses have ':', which host-local leaves as they are on Linux.
bool isAddress(kj::StringPtr name) {
  in6_addr address;
  return inet_pton(AF_INET, name.cStr(), &address) == 1 ||
         inet_pton(AF_INET6, name.cStr(), &address) == 1;
}

// Empty, or the zeros of blocks that were given to the file and never written.
bool isNameless(int folder, kj::StringPtr name) {
  KJ_IF_MAYBE (text, snapshot::tryReadFile(folder, name, MAX_LEASE_BYTES)) {
    for (char c : *text) {
      if (c != '\0') return false;
    }
    return true;
  }
  return false;
}

int freeNamelessIn(int folder) {
  auto lock = snapshot::tryOpenAt(folder, "lock", O_RDONLY | O_NOFOLLOW);
  KJ_IF_MAYBE (file, lock) {
    KJ_SYSCALL_HANDLE_ERRORS(flock(*file, LOCK_EX | LOCK_NB)) {
      case EWOULDBLOCK:
        return 0;
      default:
        KJ_FAIL_SYSCALL("flock", error);
    }
  } else {
    return 0;
  }
  int freed = 0;
  for (auto& name : snapshot::namesIn(folder)) {
    if (!isAddress(name)) continue;
    if (!isNameless(folder, name)) continue;
    KJ_SYSCALL(unlinkat(folder, name.cStr(), 0), name);
    ++freed;
  }
  return freed;
}

}  // namespace

int freeNamelessLeases(const NetworkList& list) {
  int freed = 0;
  for (auto& plugin : list.plugins) {
    KJ_IF_MAYBE (path, folderOf(plugin, list.name)) {
      KJ_IF_MAYBE (folder, snapshot::tryOpenAt(AT_FDCWD, *path, O_RDONLY | O_DIRECTORY)) {
        freed += freeNamelessIn(*folder);
      }
    }
  }
  return freed;
}

}  // namespace belay::supervisor
