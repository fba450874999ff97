// Profiles in a folder that looks like the kernel's.
#include "supervisor/spec/apparmor.h"

#include <kj/async-io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

class AppArmorTest : public ::testing::Test {
 protected:
  ~AppArmorTest() noexcept override = default;

  AppArmorTest() {
    mkdir(folder.cStr(), 0700);
    write(".replace", "");
  }

  void write(const char* name, const char* text) {
    std::ofstream(kj::str(folder, "/", name).cStr()) << text;
  }

  std::string read(const char* name) {
    std::ifstream file(kj::str(folder, "/", name).cStr());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  kj::String folder = kj::str(::testing::TempDir(), "apparmorfs-", getpid());
  AppArmor apparmor{folder};
};

TEST_F(AppArmorTest, AProfileIsLoadedWhenTheListHasItsWholeName) {
  write("profiles", "first (enforce)\nsecond one (complain)\n/usr/bin/man (enforce)\n");
  for (auto name : {"first"_kj, "second one"_kj, "/usr/bin/man"_kj}) {
    EXPECT_TRUE(apparmor.isLoaded(name)) << name.cStr();
  }
  for (auto name : {"firs"_kj, "irst"_kj, "one"_kj, "second"_kj, ""_kj, "enforce"_kj}) {
    EXPECT_FALSE(apparmor.isLoaded(name)) << name.cStr();
  }
}

TEST_F(AppArmorTest, WithoutAListNothingIsLoaded) {
  unlink(kj::str(folder, "/profiles").cStr());
  EXPECT_FALSE(apparmor.isLoaded("first"));
  EXPECT_FALSE(apparmor.hasDefault());
}

TEST_F(AppArmorTest, ADefaultThatWasRemovedIsLoadedAgain) {
  write("profiles", "");
  EXPECT_FALSE(apparmor.hasDefault());
  apparmor.load(kj::heapArray(kj::StringPtr("compiled").asBytes()));
  EXPECT_EQ(read(".replace"), "compiled");
  write(".replace", "");
  write("profiles", "other (enforce)\n");
  EXPECT_FALSE(apparmor.hasDefault());
  EXPECT_EQ(read(".replace"), "compiled");
  write(".replace", "");
  write("profiles", "other (enforce)\nbelay-default (enforce)\n");
  EXPECT_TRUE(apparmor.hasDefault());
  EXPECT_EQ(read(".replace"), "");
}

TEST_F(AppArmorTest, WhatTheKernelDoesNotTakeIsSaid) {
  unlink(kj::str(folder, "/.replace").cStr());
  expectFailure(snapshot::Code::FAILED_PRECONDITION, ".replace: No such file",
                [&] { apparmor.load(nullptr); });
}

// The parser knows the language without a kernel that has AppArmor.
TEST_F(AppArmorTest, TheDefaultCompiles) {
  if (access("/usr/sbin/apparmor_parser", X_OK) < 0) {
    GTEST_SKIP() << "needs apparmor_parser (Debian package apparmor)";
  }
  write("profiles", "");
  auto io = kj::setupAsyncIo();
  snapshot::Children children(io.unixEventPort);
  apparmor.loadDefault(children, io.provider->getTimer()).wait(io.waitScope);
  auto compiled = read(".replace");
  EXPECT_NE(compiled.find("belay-default"), std::string::npos);
}

}  // namespace
}  // namespace belay::supervisor
