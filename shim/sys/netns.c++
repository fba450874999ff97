// Implementation of netns.h.
#include "shim/sys/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

namespace belay::sys {

int newSocketIn(int netns, int family, int type) {
  if (netns < 0) return socket(family, type, 0);
  int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own < 0) return -1;
  int result = -1;
  if (setns(netns, CLONE_NEWNET) == 0) {
    result = socket(family, type, 0);
    int error = errno;
    if (setns(own, CLONE_NEWNET) < 0) abort();
    errno = error;
  }
  int error = errno;
  close(own);
  errno = error;
  return result;
}

}  // namespace belay::sys
