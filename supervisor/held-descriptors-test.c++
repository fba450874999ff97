// Tests of held-descriptors.h: what the service manager's descriptor store is told.
#include "supervisor/held-descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "supervisor/notify-fixture.h"

namespace belay::supervisor {
namespace {

kj::AutoCloseFd openNull() {
  int fd;
  KJ_SYSCALL(fd = open("/dev/null", O_RDWR | O_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd duplicate(int fd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

class HeldDescriptorsTest : public testing::Test {
 protected:
  ~HeldDescriptorsTest() noexcept override {}

  NotifySocket manager;
  HeldDescriptors held;

  std::string told() { return manager.receive().text; }
};

TEST_F(HeldDescriptorsTest, AreStoredAndRemoved) {
  held.keep("abc/stdout", openNull());
  EXPECT_EQ("FDSTORE=1\nFDPOLL=0\nFDNAME=abc/stdout", told());
  held.keep("abc/stderr", openNull());
  told();
  held.release("abc/stdout");
  EXPECT_EQ("FDSTOREREMOVE=1\nFDNAME=abc/stdout", told());
  held.release("abc/stdout");
  held.releaseAllOf("ab");
  EXPECT_EQ("", told());
  held.releaseAllOf("abc");
  EXPECT_EQ("FDSTOREREMOVE=1\nFDNAME=abc/stderr", told());
  EXPECT_EQ(0, held.all().size());
}

TEST_F(HeldDescriptorsTest, AnotherFileOfTheSameNameReplacesTheStoredOne) {
  auto fd = openNull();
  held.keep("abc/stdout", duplicate(fd));
  told();
  held.keep("abc/stdout", duplicate(fd));
  EXPECT_EQ("", told());
  held.keep("abc/stdout", openNull());
  EXPECT_EQ("FDSTOREREMOVE=1\nFDNAME=abc/stdout", told());
  EXPECT_EQ("FDSTORE=1\nFDPOLL=0\nFDNAME=abc/stdout", told());
  EXPECT_EQ(1, held.all().size());
}

TEST_F(HeldDescriptorsTest, WhatComesBackIsNotStoredAgainAndStrangersGo) {
  auto fd = openNull();
  held.takeBack("abc/stdout", duplicate(fd));
  held.takeBack("def/stdout", openNull());
  held.keep("abc/stdout", duplicate(fd));
  EXPECT_EQ("", told());
  held.releaseStrangers([](kj::StringPtr id) { return id == "abc"; });
  EXPECT_EQ("FDSTOREREMOVE=1\nFDNAME=def/stdout", told());
  EXPECT_TRUE(held.find("abc/stdout") != nullptr);
  EXPECT_TRUE(held.find("def/stdout") == nullptr);
}

}  // namespace
}  // namespace belay::supervisor
