// Tests of crictl-json.h: what is read, and that nothing is silently left out.
#include "supervisor/crictl-json.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include "snapshot/failure.h"

namespace belay::supervisor {
namespace {

TEST(CrictlJson, ReadsAPod) {
  auto pod = podConfigFromJson(R"({
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "attempt": 2},
    "hostname": "web", "log_directory": "/logs",
    "dns_config": {"servers": ["10.0.0.1"], "searches": []},
    "port_mappings": [{"container_port": 80, "host_port": 8080}],
    "labels": {"a": "b"},
    "linux": {"cgroup_parent": "/p", "sysctls": {"net.core.somaxconn": "5"},
              "security_context": {"namespace_options": {"pid": 1, "network": "NODE"}}}})");
  auto reader = pod.get();
  EXPECT_STREQ("web", reader.getName().cStr());
  EXPECT_EQ(2u, reader.getAttempt());
  EXPECT_TRUE(reader.getHasDns());
  EXPECT_STREQ("10.0.0.1", reader.getDnsServers()[0].cStr());
  EXPECT_EQ(8080, reader.getPortMappings()[0].getHostPort());
  EXPECT_STREQ("b", reader.getLabels()[0].getValue().cStr());
  EXPECT_STREQ("/p", reader.getCgroupParent().cStr());
  EXPECT_STREQ("5", reader.getSysctls()[0].getValue().cStr());
  auto namespaces = reader.getSecurity().getNamespaces();
  EXPECT_EQ(shim::NamespaceMode::CONTAINER, namespaces.getPid());
  EXPECT_EQ(shim::NamespaceMode::NODE, namespaces.getNetwork());
}

TEST(CrictlJson, ReadsAContainer) {
  auto container = containerConfigFromJson(R"({
    "metadata": {"name": "main"}, "image": {"image": "busybox"}, "command": ["sh", "-c"],
    "args": ["true"], "envs": [{"key": "K", "value": "v"}], "log_path": "main.log", "tty": true,
    "mounts": [{"container_path": "/c", "host_path": "/h", "readonly": true}],
    "linux": {"resources": {"memory_limit_in_bytes": 1048576},
              "security_context": {"run_as_user": {"value": 1000}, "supplemental_groups": [5],
                                   "capabilities": {"drop_capabilities": ["ALL"]}}}})");
  auto reader = container.get();
  EXPECT_STREQ("busybox", reader.getImage().cStr());
  EXPECT_STREQ("-c", reader.getCommand()[1].cStr());
  EXPECT_EQ('v', reader.getEnvs()[0].getValue()[0]);
  EXPECT_TRUE(reader.getMounts()[0].getReadonly());
  EXPECT_TRUE(reader.getTty());
  EXPECT_EQ(1048576, reader.getResources().getMemoryLimitBytes());
  EXPECT_EQ(1000, reader.getSecurity().getRunAsUser().getValue());
  EXPECT_EQ(5, reader.getSecurity().getSupplementalGroups()[0]);
  EXPECT_STREQ("ALL", reader.getSecurity().getDropCapabilities()[0].cStr());
}

kj::String refusal(kj::StringPtr json) {
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { podConfigFromJson(json); }));
  EXPECT_EQ(snapshot::Code::INVALID_ARGUMENT, snapshot::codeOf(exception));
  return kj::str(snapshot::messageOf(exception));
}

TEST(CrictlJson, NamesWhatItRefuses) {
  EXPECT_STREQ("linux.colour: belayctl does not know this key",
               refusal(R"({"linux": {"colour": "red"}})").cStr());
  EXPECT_STREQ("metadata.name: a string is expected",
               refusal(R"({"metadata": {"name": 5}})").cStr());
  EXPECT_STREQ("dns_config.servers[1]: a string is expected",
               refusal(R"({"dns_config": {"servers": ["a", {}]}})").cStr());
  EXPECT_STREQ("metadata.name: it is required", refusal("{}").cStr());
  EXPECT_STREQ("the file: an object is expected", refusal("[]").cStr());
  EXPECT_EQ(0u, KJ_ASSERT_NONNULL(refusal("{").findFirst('t')));
}

}  // namespace
}  // namespace belay::supervisor
