// Where a pod's cgroup is, by driver and cgroup_parent.
#include "supervisor/spec/cgroup-path.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class CgroupPathTest : public testing::Test {
 public:
  ~CgroupPathTest() noexcept override = default;

 protected:
  kj::String of(CgroupDriver driver, kj::StringPtr parent, kj::StringPtr root = "belay") {
    capnp::MallocMessageBuilder message;
    auto pod = message.initRoot<PodConfig>();
    pod.setCgroupParent(parent);
    return podCgroupPath(pod, driver, root, "ID");
  }
  void refused(CgroupDriver driver, kj::StringPtr parent, const char* why) {
    expectFailure(Code::INVALID_ARGUMENT, "linux.cgroup_parent", [&] { of(driver, parent); });
    expectFailure(Code::INVALID_ARGUMENT, why, [&] { of(driver, parent); });
  }
};

TEST_F(CgroupPathTest, CgroupfsTakesTheClientsOrBelaysOwn) {
  constexpr auto CGROUPFS = CgroupDriver::CGROUPFS;
  EXPECT_EQ(of(CGROUPFS, ""), "/belay/pods/ID");
  EXPECT_EQ(of(CGROUPFS, "/kubepods/burstable/podU/"), "/kubepods/burstable/podU");
  EXPECT_EQ(of(CGROUPFS, "kubepods"), "/kubepods");
  refused(CGROUPFS, "/kubepods/../system", "..");
  refused(CGROUPFS, "//", "the root of all cgroups");
}

TEST_F(CgroupPathTest, SystemdMakesAScopeInTheSlice) {
  constexpr auto SYSTEMD = CgroupDriver::SYSTEMD;
  constexpr auto PATH = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_1.slice";
  EXPECT_EQ(of(SYSTEMD, PATH), kj::str(PATH, "/belay-ID.scope"));
  EXPECT_EQ(of(SYSTEMD, "kubepods-burstable-podU_1.slice"), kj::str(PATH, "/belay-ID.scope"));
  EXPECT_EQ(of(SYSTEMD, "/system.slice/"), "/system.slice/belay-ID.scope");
  EXPECT_EQ(of(SYSTEMD, ""), "/belay.slice/belay-ID.scope");
  EXPECT_EQ(of(SYSTEMD, "", "nodes/belay"), "/nodes.slice/nodes-belay.slice/nodes-belay-ID.scope");
  refused(SYSTEMD, "/kubepods/burstable/podU", "cgroup_driver");
  refused(SYSTEMD, "/a.slice/b.slice", "/b.slice");
  refused(SYSTEMD, "/kubepods-burstable.slice", "/kubepods.slice/kubepods-burstable.slice");
  refused(SYSTEMD, "/", "the root of all cgroups");
  refused(SYSTEMD, "../a.slice", "..");
}

TEST_F(CgroupPathTest, SlicesHaveNames) {
  EXPECT_EQ(slicePath("a.slice"), "/a.slice");
  EXPECT_EQ(slicePath("a-b-c.slice"), "/a.slice/a-b.slice/a-b-c.slice");
  auto tooLong = kj::str(kj::repeat('a', 300), ".slice");
  for (kj::StringPtr bad : {"-.slice"_kj, ".slice"_kj, "a"_kj, "-a.slice"_kj, "a-.slice"_kj,
                            "a--b.slice"_kj, "a b.slice"_kj, "a\nb.slice"_kj, tooLong.asPtr()}) {
    expectFailure(Code::INVALID_ARGUMENT, "is no slice's name", [&] { slicePath(bad); });
  }
}

TEST_F(CgroupPathTest, ThoseOfBelaysNamingAreThePodsAlone) {
  for (auto driver : {CgroupDriver::CGROUPFS, CgroupDriver::SYSTEMD}) {
    EXPECT_TRUE(isCgroupOfPodAlone(of(driver, ""), "ID"));
    EXPECT_FALSE(isCgroupOfPodAlone(of(driver, ""), "D"));
  }
  EXPECT_TRUE(isCgroupOfPodAlone(of(CgroupDriver::SYSTEMD, "a.slice"), "ID"));
  EXPECT_FALSE(isCgroupOfPodAlone(of(CgroupDriver::CGROUPFS, "/kubepods/podID"), "ID"));
}

}  // namespace
}  // namespace belay::supervisor
