// Tests for pods between the CRI and the supervisor.
#include "criapi/translate-pod.h"

#include <gtest/gtest.h>

#include <functional>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

const Field FIELD("config");

v1::PodSandboxConfig minimalConfig() {
  v1::PodSandboxConfig config;
  config.mutable_metadata()->set_name("web");
  config.mutable_metadata()->set_uid("uid-1");
  config.mutable_metadata()->set_namespace_("shop");
  return config;
}

std::string refusalWith(std::function<void(v1::PodSandboxConfig&)> change) {
  auto config = minimalConfig();
  change(config);
  return refusal([&]() { podConfigOf(config, FIELD); });
}

TEST(PodConfig, EveryFieldIsTakenOver) {
  auto config = minimalConfig();
  config.mutable_metadata()->set_attempt(3);
  config.set_hostname("web-0");
  config.set_log_directory("/var/log/pods/web");
  config.mutable_dns_config()->add_servers("10.0.0.10");
  config.mutable_dns_config()->add_searches("svc.local");
  config.mutable_dns_config()->add_options("ndots:5");
  auto& mapping = *config.add_port_mappings();
  mapping.set_protocol(v1::SCTP);
  mapping.set_container_port(80);
  mapping.set_host_port(8080);
  mapping.set_host_ip("::1");
  (*config.mutable_labels())["app"] = "web";
  (*config.mutable_annotations())["note"] = "a\nb";
  auto& linux = *config.mutable_linux();
  linux.set_cgroup_parent("/kubepods/pod1");
  (*linux.mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  linux.mutable_overhead()->set_memory_limit_in_bytes(1 << 20);
  linux.mutable_resources()->set_cpu_shares(512);
  linux.mutable_security_context()->mutable_run_as_user()->set_value(7);

  auto owned = podConfigOf(config, FIELD);
  auto kept = owned.get();
  EXPECT_EQ(kept.getName(), "web"_kj);
  EXPECT_EQ(kept.getUid(), "uid-1"_kj);
  EXPECT_EQ(kept.getNamespace(), "shop"_kj);
  EXPECT_EQ(kept.getAttempt(), 3);
  EXPECT_EQ(kept.getHostname(), "web-0"_kj);
  EXPECT_EQ(kept.getLogDirectory(), "/var/log/pods/web"_kj);
  EXPECT_TRUE(kept.getHasDns());
  EXPECT_EQ(kept.getDnsServers()[0], "10.0.0.10"_kj);
  EXPECT_EQ(kept.getDnsSearches()[0], "svc.local"_kj);
  EXPECT_EQ(kept.getDnsOptions()[0], "ndots:5"_kj);
  EXPECT_EQ(kept.getPortMappings()[0].getProtocol(), supervisor::PortMapping::Protocol::SCTP);
  EXPECT_EQ(kept.getPortMappings()[0].getContainerPort(), 80);
  EXPECT_EQ(kept.getPortMappings()[0].getHostPort(), 8080);
  EXPECT_EQ(kept.getPortMappings()[0].getHostIp(), "::1"_kj);
  EXPECT_EQ(kept.getLabels()[0].getValue(), "web"_kj);
  EXPECT_EQ(kept.getAnnotations()[0].getValue(), "a\nb"_kj);
  EXPECT_EQ(kept.getCgroupParent(), "/kubepods/pod1"_kj);
  EXPECT_EQ(kept.getSysctls()[0].getKey(), "net.ipv4.ip_forward"_kj);
  EXPECT_EQ(kept.getOverhead().getMemoryLimitBytes(), 1 << 20);
  EXPECT_EQ(kept.getResources().getCpuShares(), 512);
  EXPECT_EQ(kept.getSecurity().getRunAsUser().getValue(), 7);
}

TEST(PodConfig, NoDnsConfigIsNotAnEmptyOne) {
  auto config = minimalConfig();
  EXPECT_FALSE(podConfigOf(config, FIELD).get().getHasDns());
  config.mutable_dns_config();
  EXPECT_TRUE(podConfigOf(config, FIELD).get().getHasDns());
}

TEST(PodConfig, RefusalsNameFieldAndReason) {
  EXPECT_EQ(refusalWith([](auto&) {}), "accepted");
  EXPECT_EQ(refusalWith([](auto& c) { c.clear_metadata(); }),
            "config.metadata.name: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.mutable_metadata()->clear_uid(); }),
            "config.metadata.uid: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.mutable_metadata()->clear_namespace_(); }),
            "config.metadata.namespace: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.set_hostname(std::string(65, 'a')); }),
            "config.hostname: is longer than 64 bytes");
  EXPECT_EQ(refusalWith([](auto& c) { c.set_log_directory("logs"); }),
            "config.log_directory: must be an absolute path, not \"logs\"");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_port_mappings(); }),
            "config.port_mappings[0].container_port: 0 is not a port");
  EXPECT_EQ(refusalWith([](auto& c) {
              c.add_port_mappings()->set_container_port(80);
              c.mutable_port_mappings(0)->set_host_port(70000);
            }),
            "config.port_mappings[0].host_port: 70000 is not a port");
  EXPECT_EQ(refusalWith([](auto& c) {
              c.add_port_mappings()->set_container_port(80);
              c.mutable_port_mappings(0)->set_host_ip("localhost");
            }),
            "config.port_mappings[0].host_ip: \"localhost\" is not an IP address");
  EXPECT_EQ(refusalWith([](auto& c) { c.mutable_linux()->set_cgroup_parent("/a/../b"); }),
            "config.linux.cgroup_parent: must not hold \"..\"");
  EXPECT_EQ(
      refusalWith([](auto& c) { c.mutable_linux()->mutable_resources()->set_oom_score_adj(1001); }),
      "config.linux.resources.oom_score_adj: 1001 is not between -1000 and 1000");
  EXPECT_EQ(refusalWith([](auto& c) { c.mutable_windows(); }),
            "config.windows: this node runs Linux containers");
}

TEST(PodStatus, HasWhatClientsRequire) {
  auto pod = podView("pod-1", [](supervisor::PodRecord::Builder record) {
    record.setRuntimeHandler("belay");
    auto ips = record.initNetwork().initIps(2);
    ips.set(0, "10.1.2.3");
    ips.set(1, "fd00::3");
    auto labels = record.getConfig().initLabels(1);
    labels[0].setKey("app");
    labels[0].setValue("web");
  });
  v1::PodSandboxStatus status;
  readPodStatus(pod, status);
  EXPECT_EQ(status.id(), "pod-1");
  EXPECT_EQ(status.metadata().name(), "web");
  EXPECT_EQ(status.metadata().uid(), "uid-1");
  EXPECT_EQ(status.metadata().namespace_(), "shop");
  EXPECT_EQ(status.metadata().attempt(), 2);
  EXPECT_EQ(status.created_at(), 7);
  EXPECT_EQ(status.state(), v1::SANDBOX_READY);
  EXPECT_EQ(status.network().ip(), "10.1.2.3");
  ASSERT_EQ(status.network().additional_ips_size(), 1);
  EXPECT_EQ(status.network().additional_ips(0).ip(), "fd00::3");
  EXPECT_TRUE(status.linux().namespaces().has_options());
  EXPECT_EQ(status.labels().at("app"), "web");
  EXPECT_EQ(status.runtime_handler(), "belay");

  // Its addresses may be another pod's by now.
  pod.ready = false;
  v1::PodSandboxStatus stopped;
  readPodStatus(pod, stopped);
  EXPECT_EQ(stopped.state(), v1::SANDBOX_NOTREADY);
  EXPECT_EQ(stopped.network().ip(), "");
}

TEST(PodItem, CarriesLabelsAndMetadata) {
  v1::PodSandbox item;
  readPod(podView("pod-1"), item);
  EXPECT_EQ(item.id(), "pod-1");
  EXPECT_EQ(item.metadata().namespace_(), "shop");
  EXPECT_EQ(item.created_at(), 7);
  EXPECT_EQ(item.state(), v1::SANDBOX_READY);
}

}  // namespace
}  // namespace belay::criapi
