// See service-manager.h.
#include "supervisor/service-manager.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

namespace belay::supervisor {

namespace {

// A service manager that cannot be told is no reason to stop.
void send(kj::StringPtr message, kj::ArrayPtr<const int> descriptors) {
  int result = sd_pid_notify_with_fds(0, 0, message.cStr(), descriptors.begin(),
                                      static_cast<unsigned>(descriptors.size()));
  if (result < 0) {
    KJ_LOG(WARNING, "the service manager cannot be told", message, strerror(-result));
  }
}

}  // namespace

void notifyServiceManager(kj::StringPtr message) {
  send(message, nullptr);
}

void notifyReloading() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  send(kj::str("RELOADING=1\nMONOTONIC_USEC=", time.tv_sec * 1'000'000ll + time.tv_nsec / 1000),
       nullptr);
}

kj::Vector<GivenDescriptor> takeGivenDescriptors() {
  char** names = nullptr;
  int count = sd_listen_fds_with_names(1, &names);
  KJ_DEFER(free(names));
  KJ_REQUIRE(count >= 0, "the descriptors of LISTEN_FDS cannot be taken", strerror(-count));
  kj::Vector<GivenDescriptor> given(count);
  for (int i = 0; i < count; ++i) {
    given.add(GivenDescriptor{kj::str(static_cast<const char*>(names[i])),
                              kj::AutoCloseFd(SD_LISTEN_FDS_START + i)});
    free(names[i]);
  }
  return given;
}

// FDPOLL=0: systemd would drop a pipe whose writer is gone, and with it what is still to be read.
void storeDescriptor(kj::StringPtr name, int fd) {
  send(kj::str("FDSTORE=1\nFDPOLL=0\nFDNAME=", name), kj::arrayPtr(&fd, 1));
}

void removeStoredDescriptor(kj::StringPtr name) {
  send(kj::str("FDSTOREREMOVE=1\nFDNAME=", name), nullptr);
}

}  // namespace belay::supervisor
