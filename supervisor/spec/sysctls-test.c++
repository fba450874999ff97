// Kernel parameters of a pod: which are its own, and which would change the host.
#include "supervisor/spec/sysctls.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class SysctlsTest : public ::testing::Test {
 protected:
  ~SysctlsTest() noexcept override = default;

  capnp::MallocMessageBuilder message;
  PodConfig::Builder pod = message.initRoot<PodConfig>();

  void ask(kj::StringPtr name, kj::StringPtr value) {
    auto pair = pod.initSysctls(1)[0];
    pair.setKey(name);
    pair.setValue(value);
  }
  NamespaceOptions::Builder namespaces() { return pod.initSecurity().initNamespaces(); }

  std::string planned(SysctlDefaults defaults = {false, false}) {
    auto plan = planSysctls(pod, defaults);
    return kj::strArray(
               KJ_MAP(one, plan) { return kj::str(one.name, "=", one.value); }, ";")
        .cStr();
  }
};

TEST_F(SysctlsTest, DefaultsAreSetUnlessTheClientSetsThem) {
  EXPECT_EQ(planned({true, true}),
            "net.ipv4.ip_unprivileged_port_start=0;net.ipv4.ping_group_range=0 2147483647");
  namespaces().initGidMappings(1)[0].setLength(65536);
  EXPECT_EQ(planned({false, true}), "net.ipv4.ping_group_range=0 65535");
  ask("net.ipv4.ip_unprivileged_port_start", "80");
  EXPECT_EQ(planned({true, false}), "net.ipv4.ip_unprivileged_port_start=80");
}

TEST_F(SysctlsTest, BothSpellingsAreOneName) {
  ask("net/core/somaxconn", "1024");
  EXPECT_EQ(planned(), "net.core.somaxconn=1024");
  ask("net/ipv4/conf/eth0.1/forwarding", "1");
  EXPECT_EQ(planned(), "net.ipv4.conf.eth0/1.forwarding=1");
}

TEST_F(SysctlsTest, IpcParametersBelongToThePod) {
  ask("kernel.shmmax", "1");
  EXPECT_EQ(planned(), "kernel.shmmax=1");
  ask("fs.mqueue.msg_max", "1");
  EXPECT_EQ(planned(), "fs.mqueue.msg_max=1");
}

TEST_F(SysctlsTest, WhatWouldChangeTheHostIsRefused) {
  for (auto name :
       {"kernel.panic", "vm.swappiness", "kernel.hostname", "kernel.core_pattern", "fs.file-max"}) {
    ask(name, "1");
    expectFailure(Code::INVALID_ARGUMENT, "does not belong to a namespace of the pod",
                  [&] { planned(); });
  }
  ask("net.core.somaxconn", "1");
  namespaces().setNetwork(shim::NamespaceMode::NODE);
  expectFailure(Code::INVALID_ARGUMENT, "the pod is in the host's network", [&] { planned(); });
  ask("kernel.sem", "1");
  namespaces().setIpc(shim::NamespaceMode::NODE);
  expectFailure(Code::INVALID_ARGUMENT, "the host's IPC namespace", [&] { planned(); });
}

TEST_F(SysctlsTest, DefaultsStayOutOfTheHostsNetwork) {
  namespaces().setNetwork(shim::NamespaceMode::NODE);
  EXPECT_EQ(planned({true, true}), "");
}

TEST_F(SysctlsTest, NamesThatWalkAreRefused) {
  for (auto name :
       {"net..core.x", "net.//.kernel", "net/../kernel/panic", ".net.x", "net", "net.a b"}) {
    ask(name, "1");
    expectFailure(Code::INVALID_ARGUMENT, "linux.sysctls", [&] { planned(); });
  }
}

}  // namespace
}  // namespace belay::supervisor
