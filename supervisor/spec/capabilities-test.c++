// Capability sets: defaults, add, drop, ALL, ambient, privileged.
#include "supervisor/spec/capabilities.h"

#include <capnp/message.h>
#include <linux/capability.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

constexpr uint64_t ALL = (1ull << (CAP_LAST_CAP + 1)) - 1;
constexpr uint64_t bit(int capability) {
  return 1ull << capability;
}

class CapabilitiesTest : public ::testing::Test {
 protected:
  ~CapabilitiesTest() noexcept override = default;

  capnp::MallocMessageBuilder securityMessage, setsMessage;
  SecurityContext::Builder security = securityMessage.initRoot<SecurityContext>();

  shim::Capabilities::Reader fill(uint64_t available = ALL) {
    auto sets = setsMessage.initRoot<shim::Capabilities>();
    fillCapabilities(sets, security, available);
    return sets;
  }
  void add(kj::StringPtr name) { security.initAddCapabilities(1).set(0, name); }
  void drop(kj::StringPtr name) { security.initDropCapabilities(1).set(0, name); }
};

TEST_F(CapabilitiesTest, NamesMeanTheKernelsNumbers) {
  EXPECT_EQ(capabilityBit("CHOWN").orDefault(0), bit(CAP_CHOWN));
  EXPECT_EQ(capabilityBit("cap_sys_admin").orDefault(0), bit(CAP_SYS_ADMIN));
  EXPECT_EQ(capabilityBit("SETFCAP").orDefault(0), bit(CAP_SETFCAP));
  EXPECT_EQ(capabilityBit("AUDIT_READ").orDefault(0), bit(CAP_AUDIT_READ));
  EXPECT_EQ(capabilityBit("CHECKPOINT_RESTORE").orDefault(0), bit(CAP_CHECKPOINT_RESTORE));
  EXPECT_EQ(capabilityBit("NOPE").orDefault(0), 0u);
}

TEST_F(CapabilitiesTest, DefaultSetIsInThreeSetsAndNotInherited) {
  auto sets = fill();
  EXPECT_EQ(sets.getBounding(), defaultCapabilities());
  EXPECT_EQ(sets.getEffective(), defaultCapabilities());
  EXPECT_EQ(sets.getPermitted(), defaultCapabilities());
  EXPECT_EQ(sets.getInheritable(), 0u);
  EXPECT_EQ(sets.getAmbient(), 0u);
  EXPECT_EQ(sets.getBounding() & bit(CAP_SYS_ADMIN), 0u);
}

TEST_F(CapabilitiesTest, DropAllThenAddLeavesOne) {
  drop("ALL");
  add("NET_ADMIN");
  EXPECT_EQ(fill().getBounding(), bit(CAP_NET_ADMIN));
}

TEST_F(CapabilitiesTest, AddAllThenDropLeavesAllButOne) {
  add("all");
  drop("CAP_SYS_ADMIN");
  EXPECT_EQ(fill().getBounding(), ALL & ~bit(CAP_SYS_ADMIN));
}

TEST_F(CapabilitiesTest, AmbientIsInEverySet) {
  drop("ALL");
  security.initAddAmbientCapabilities(1).set(0, "NET_BIND_SERVICE");
  auto sets = fill();
  for (auto set : {sets.getBounding(), sets.getEffective(), sets.getPermitted(),
                   sets.getInheritable(), sets.getAmbient()}) {
    EXPECT_EQ(set, bit(CAP_NET_BIND_SERVICE));
  }
}

TEST_F(CapabilitiesTest, PrivilegedHasAllThatThereIs) {
  security.setPrivileged(true);
  EXPECT_EQ(fill(bit(CAP_CHOWN) | bit(CAP_BPF)).getBounding(), bit(CAP_CHOWN) | bit(CAP_BPF));
}

TEST_F(CapabilitiesTest, WhatBelaydHasNotIsRefusedByName) {
  add("SYS_ADMIN");
  expectFailure(Code::FAILED_PRECONDITION, "does not have itself",
                [&] { fill(defaultCapabilities()); });
}

TEST_F(CapabilitiesTest, UnknownNamesAreRefusedWithTheirField) {
  add("SYS_EVERYTHING");
  expectFailure(Code::INVALID_ARGUMENT,
                "capabilities.add_capabilities: there is no capability \"SYS_EVERYTHING\"",
                [&] { fill(); });
  add("CHOWN");
  drop("");
  expectFailure(Code::INVALID_ARGUMENT, "capabilities.drop_capabilities", [&] { fill(); });
}

}  // namespace
}  // namespace belay::supervisor
