// See part-options.h.
#include "supervisor/part-options.h"

#include <kj/debug.h>
#include <sys/utsname.h>

namespace belay::supervisor {

namespace {

// The names that image indexes use (Go's GOARCH) for what uname(2) says.
kj::String imageArchitecture() {
  utsname names;
  KJ_SYSCALL(uname(&names));
  kj::StringPtr machine = names.machine;
  if (machine == "x86_64") return kj::str("amd64");
  if (machine == "aarch64") return kj::str("arm64");
  return kj::str(machine);
}

}  // namespace

snapshot::PullerOptions pullerOptions(const Config& config) {
  snapshot::PullerOptions options;
  options.registryConfigFolders = kj::arr(kj::str(config.registryConfig));
  options.architecture = imageArchitecture();
  options.stallTimeoutMs = config.pullStallTimeout / kj::MILLISECONDS;
  return options;
}

CniOptions cniOptions(const Config& config) {
  CniOptions options;
  options.confDir = kj::str(config.cniConfDir);
  options.binDirs = KJ_MAP(folder, config.cniBinDirs) {
    return kj::str(folder);
  };
  options.pluginTimeout = config.cniPluginTimeout;
  options.marks = kj::str(config.root, "/attachments");
  return options;
}

}  // namespace belay::supervisor
