// Tests of service-manager.h: what is said, and what is taken.
#include "supervisor/service-manager.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "supervisor/notify-fixture.h"

namespace belay::supervisor {
namespace {

TEST(ServiceManager, IsTold) {
  {
    NotifySocket manager;
    notifyServiceManager("READY=1");
    EXPECT_EQ("READY=1", manager.receive().text);
    notifyReloading();
    EXPECT_EQ(0u, manager.receive().text.find("RELOADING=1\nMONOTONIC_USEC="));
  }
  notifyServiceManager("READY=1");  // nobody is there
}

TEST(ServiceManager, StoresDescriptors) {
  NotifySocket manager;
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd reader(ends[0]), writer(ends[1]);
  storeDescriptor("abc/stdout", reader);
  auto message = manager.receive();
  EXPECT_EQ("FDSTORE=1\nFDPOLL=0\nFDNAME=abc/stdout", message.text);
  KJ_SYSCALL(write(writer, "x", 1));
  char byte = 0;
  EXPECT_EQ(1, read(message.fd, &byte, 1));
  EXPECT_EQ('x', byte);
  removeStoredDescriptor("abc/stdout");
  EXPECT_EQ("FDSTOREREMOVE=1\nFDNAME=abc/stdout", manager.receive().text);
}

// In a child, whose descriptors from 3 on are this test's to choose.
TEST(ServiceManager, GivesDescriptorsOnce) {
  pid_t child = fork();
  if (child == 0) {
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[0], 100) < 0 || dup2(ends[1], 101) < 0) _exit(1);
    if (dup2(100, 3) < 0 || dup2(101, 4) < 0) _exit(1);
    setenv("LISTEN_PID", kj::str(getpid()).cStr(), 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "cri:abc/stdout", 1);
    auto given = takeGivenDescriptors();
    bool good = given.size() == 2 && given[0].name == "cri" && given[0].fd.get() == 3 &&
                given[1].name == "abc/stdout" && given[1].fd.get() == 4;
    good = good && (fcntl(3, F_GETFD) & FD_CLOEXEC) != 0;
    good = good && takeGivenDescriptors().size() == 0 && getenv("LISTEN_FDS") == nullptr;
    _exit(good ? 0 : 2);
  }
  int status;
  KJ_SYSCALL(waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
}

}  // namespace
}  // namespace belay::supervisor
