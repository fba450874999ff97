// Tests of finding the cgroup hierarchies.
#include "shim/engine/cgroup-hierarchies.h"

#include <gtest/gtest.h>

namespace belay::shim {
namespace {

using Version = CgroupHierarchies::Hierarchy::Version;

TEST(CgroupHierarchiesTest, FindsTheHybridLayout) {
  auto found = CgroupHierarchies::parse(
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup "
      "rw,cpu,cpuacct\n"
      "36 31 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n");
  ASSERT_EQ(found.size(), 3);
  EXPECT_EQ(found[0].version, Version::V1);
  ASSERT_EQ(found[0].controllers.size(), 2);
  EXPECT_TRUE(found[0].controllers[1] == "cpuacct");
  EXPECT_TRUE(found[1].controllers[0] == "name=systemd");
  EXPECT_EQ(found[2].version, Version::V2);
  EXPECT_TRUE(found[2].mountPoint == "/sys/fs/cgroup/unified");
}

TEST(CgroupHierarchiesTest, TakesAHierarchyThatIsMountedTwiceOnce) {
  auto found = CgroupHierarchies::parse(
      "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"
      "90 23 0:26 / /mnt/copy rw shared:4 - cgroup2 cgroup2 rw\n"
      "91 23 0:27 / /a rw - cgroup none rw,memory\n"
      "92 23 0:27 / /b rw - cgroup none rw,memory\n");
  ASSERT_EQ(found.size(), 2);
  EXPECT_TRUE(found[0].mountPoint == "/sys/fs/cgroup");
  EXPECT_TRUE(found[1].mountPoint == "/a");
}

TEST(CgroupHierarchiesTest, ReadsEscapedMountPoints) {
  auto found = CgroupHierarchies::parse("30 23 0:26 / /a\\040b\\134 rw - cgroup2 cgroup2 rw\n");
  ASSERT_EQ(found.size(), 1);
  EXPECT_TRUE(found[0].mountPoint == "/a b\\");
}

TEST(CgroupHierarchiesTest, PassesOverLinesThatAreCutOff) {
  EXPECT_EQ(CgroupHierarchies::parse("30 23 0:26 / /a rw - cgroup2\n30\n\n").size(), 0);
}

}  // namespace
}  // namespace belay::shim
