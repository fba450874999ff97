// The helper that is born into the pod's new namespaces and furnishes them.
#include "shim/engine/namespaces-child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "shim/engine/kept-fds.h"
#include "shim/engine/process-setup.h"
#include "shim/engine/user-namespace.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

void setHostname(const Reporter& reporter, capnp::Text::Reader hostname) {
  if (sethostname(hostname.begin(), hostname.size()) < 0) {
    reporter.fail("set the host name", hostname.cStr(), errno);
  }
}

void bringLoopbackUp(const Reporter& reporter) {
  constexpr const char* STEP = "bring the interface up";
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) reporter.fail(STEP, "lo", errno);
  struct ifreq request = {};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) reporter.fail(STEP, "lo", errno);
  // A socket kept open would keep the network namespace.
  close(fd);
}

// Below /proc/sys a dot of the name is a slash and, for interface names with a dot in them, a slash
// is a dot (sysctl(8)).
void setSysctl(const Reporter& reporter, int directory, PodSpec::Sysctl::Reader sysctl) {
  constexpr const char* STEP = "set the sysctl";
  auto name = sysctl.getName();
  char path[256];
  if (name.size() >= sizeof(path)) reporter.fail(STEP, name.cStr(), ENAMETOOLONG);
  for (size_t i = 0; i <= name.size(); ++i) {
    char c = name.cStr()[i];
    path[i] = c == '.' ? '/' : c == '/' ? '.' : c;
  }
  int fd = sys::openBeneath(directory, path, O_WRONLY, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  if (fd < 0) reporter.fail(STEP, name.cStr(), errno);
  auto value = sysctl.getValue();
  if (write(fd, value.begin(), value.size()) < 0) reporter.fail(STEP, name.cStr(), errno);
  close(fd);
}

}  // namespace

void runNamespacesChild(PodSpec::Reader spec, bool networkIsOwn, int reportSocket) {
  Reporter reporter(reportSocket);
  KeptFds kept(reporter);
  kept.closeOthers();
  resetInherited(reporter);
  if (IdMapping(spec.getIds()).isOwn()) {
    // Until the parent has written the maps there is no root to become.
    reporter.waitAtGate();
    becomeRootOfPod(reporter);
  }

  if (spec.getHostname().size() > 0) setHostname(reporter, spec.getHostname());
  if (networkIsOwn) bringLoopbackUp(reporter);
  if (spec.getSysctls().size() > 0) {
    int directory = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) reporter.fail("open", "/proc/sys", errno);
    for (auto sysctl : spec.getSysctls())
      setSysctl(reporter, directory, sysctl);
  }

  Report report;
  report.kind = Report::Kind::READY;
  reporter.send(report);
  // The namespaces live through this process until the parent has pinned them.
  reporter.waitAtGate();
  _exit(0);
}

}  // namespace belay::shim
