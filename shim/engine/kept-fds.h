// Which descriptors a child goes on with: everything else is closed at once, in two or three steps.
#pragma once

#include <errno.h>

#include "shim/engine/report.h"
#include "shim/sys/fds.h"

namespace belay::shim {

// Collects descriptors, the report socket among them, and closes all others. For children after the
// clone: allocates nothing, reports failures and exits. Negative numbers are ignored.
class KeptFds {
 public:
  explicit KeptFds(const Reporter& reporter) : reporter(reporter) { add(reporter.getSocket()); }

  void add(int fd) {
    if (count == MAX_COUNT) reporter.fail("keep descriptors", "", EMFILE);
    fds[count++] = fd;
  }

  void addStandardStreams() {
    for (int fd = 0; fd < 3; ++fd)
      add(fd);
  }

  void closeOthers() {
    if (sys::closeAllBut(fds, count) < 0) reporter.fail("close descriptors", "", errno);
  }

 private:
  // More than the kernel's hierarchies, the pod's namespaces and a long list of mounts below /proc.
  static constexpr size_t MAX_COUNT = 512;

  const Reporter& reporter;
  int fds[MAX_COUNT];
  size_t count = 0;
};

}  // namespace belay::shim
