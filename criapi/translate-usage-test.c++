// Tests for stats: what is known is there, what is unknown is absent.
#include "criapi/translate-usage.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

supervisor::Owned<shim::CgroupUsage> usageOf(std::function<void(shim::CgroupUsage::Builder)> fill) {
  return supervisor::Owned<shim::CgroupUsage>::make(fill);
}

v1::ContainerStats statsOf(supervisor::Owned<shim::CgroupUsage> usage,
                           kj::Maybe<supervisor::FilesystemUsage> layer = nullptr) {
  v1::ContainerStats stats;
  readContainerStats({containerView("c1").record, kj::mv(usage), kj::mv(layer)}, stats);
  return stats;
}

TEST(TranslateUsage, AllNumbersHaveTheirPlace) {
  auto usage = usageOf([](shim::CgroupUsage::Builder to) {
    to.setTimeNs(1);
    to.setCpuNs(2);
    to.setCpuNsPerSecond(3);
    to.setMemoryBytes(40);
    to.setWorkingSetBytes(30);
    to.setMemoryLimitBytes(100);
    to.setAnonymousBytes(6);
    to.setPageFaults(7);
    to.setMajorPageFaults(8);
    to.setSwapBytes(9);
    to.setSwapLimitBytes(20);
    auto pressure = to.initCpuPressure();
    pressure.initSome().setTotalUs(5);
    pressure.getSome().setAverage10(1.5);
    to.initIoPressure().initFull().setAverage300(0.25);
  });
  auto stats = statsOf(kj::mv(usage), supervisor::FilesystemUsage{11, kj::str("/root"), 12, 13});
  EXPECT_EQ(stats.attributes().id(), "c1");
  EXPECT_EQ(stats.attributes().metadata().name(), "server");
  EXPECT_EQ(stats.cpu().timestamp(), 1);
  EXPECT_EQ(stats.cpu().usage_core_nano_seconds().value(), 2);
  EXPECT_EQ(stats.cpu().usage_nano_cores().value(), 3);
  EXPECT_EQ(stats.cpu().psi().some().total(), 5000);
  EXPECT_EQ(stats.cpu().psi().some().avg10(), 1.5);
  EXPECT_EQ(stats.memory().usage_bytes().value(), 40);
  EXPECT_EQ(stats.memory().working_set_bytes().value(), 30);
  EXPECT_EQ(stats.memory().available_bytes().value(), 70);
  EXPECT_EQ(stats.memory().rss_bytes().value(), 6);
  EXPECT_EQ(stats.memory().page_faults().value(), 7);
  EXPECT_EQ(stats.memory().major_page_faults().value(), 8);
  EXPECT_EQ(stats.swap().swap_usage_bytes().value(), 9);
  EXPECT_EQ(stats.swap().swap_available_bytes().value(), 11);
  EXPECT_EQ(stats.io().psi().full().avg300(), 0.25);
  EXPECT_EQ(stats.writable_layer().timestamp(), 11);
  EXPECT_EQ(stats.writable_layer().fs_id().mountpoint(), "/root");
  EXPECT_EQ(stats.writable_layer().used_bytes().value(), 12);
  EXPECT_EQ(stats.writable_layer().inodes_used().value(), 13);
}

TEST(TranslateUsage, WhatIsUnknownIsAbsent) {
  auto stats = statsOf(usageOf([](auto to) { to.setWorkingSetBytes(5); }));
  EXPECT_FALSE(stats.cpu().has_usage_core_nano_seconds());
  EXPECT_FALSE(stats.cpu().has_psi());
  EXPECT_TRUE(stats.memory().has_working_set_bytes());
  EXPECT_FALSE(stats.memory().has_available_bytes());  // no limit
  EXPECT_FALSE(stats.swap().has_swap_usage_bytes());
  EXPECT_FALSE(stats.has_io());
  EXPECT_FALSE(stats.has_writable_layer());
}

TEST(TranslateUsage, UseBeyondTheLimitLeavesNothing) {
  auto stats = statsOf(usageOf([](auto to) {
    to.setWorkingSetBytes(5);
    to.setMemoryLimitBytes(4);
  }));
  EXPECT_EQ(stats.memory().available_bytes().value(), 0);
}

TEST(TranslateUsage, APodHasItsInterfacesAndContainers) {
  auto usage = supervisor::Owned<shim::PodUsage>::make([](shim::PodUsage::Builder to) {
    to.initCgroup().setTasks(3);
    to.getCgroup().setCpuNs(8);
    auto interfaces = to.initInterfaces(2);
    interfaces[0].setName(kj::StringPtr("net\xff").asBytes());
    interfaces[0].setRxBytes(1);
    interfaces[1].setName("eth0"_kj.asBytes());
    interfaces[1].setTxBytes(2);
  });
  kj::Vector<supervisor::ContainerUsageView> containers;
  containers.add(
      supervisor::ContainerUsageView{containerView("c1").record, usageOf([](auto) {}), nullptr});
  v1::PodSandboxStats stats;
  readPodSandboxStats({podView("pod-1").record, kj::mv(usage), containers.releaseAsArray()}, stats);
  EXPECT_EQ(stats.attributes().metadata().uid(), "uid-1");
  EXPECT_EQ(stats.linux().cpu().usage_core_nano_seconds().value(), 8);
  EXPECT_EQ(stats.linux().process().process_count().value(), 3);
  EXPECT_EQ(stats.linux().network().default_interface().name(), "eth0");
  EXPECT_EQ(stats.linux().network().default_interface().tx_bytes().value(), 2);
  ASSERT_EQ(stats.linux().network().interfaces_size(), 1);
  EXPECT_EQ(stats.linux().network().interfaces(0).name(), "net\xef\xbf\xbd");
  ASSERT_EQ(stats.linux().containers_size(), 1);
  EXPECT_EQ(stats.linux().containers(0).attributes().id(), "c1");
}

}  // namespace
}  // namespace belay::criapi
