// Tests for the JSON of verbose statuses.
#include "criapi/verbose-info.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

using nlohmann::json;
using State = supervisor::ContainerView::State;

TEST(PodInfo, ShowsWhereTheNetworkNamespaceIs) {
  auto pod = podView("pod-1", [](auto record) {
    record.getSpec().setNetnsPath("/run/netns/cni-1");
    record.getSpec().setCgroupPath("/kubepods/pod1");
    record.initNetwork().setResult("{\"cniVersion\":\"1.0.0\"}");
  });
  auto info = json::parse(podInfo(pod));
  EXPECT_EQ(info["sandboxID"], "pod-1");
  EXPECT_EQ(info["config"]["metadata"]["namespace"], "shop");
  EXPECT_EQ(info["runtimeSpec"]["linux"]["cgroupsPath"], "/kubepods/pod1");
  EXPECT_EQ(info["runtimeSpec"]["linux"]["namespaces"][0]["type"], "network");
  EXPECT_EQ(info["runtimeSpec"]["linux"]["namespaces"][0]["path"], "/run/netns/cni-1");
  EXPECT_EQ(info["runtimeSpec"]["linux"]["uidMappings"].size(), 0);
  EXPECT_EQ(info["cniResult"]["cniVersion"], "1.0.0");
}

TEST(PodInfo, IsJsonWhateverThePlugInSaid) {
  auto pod = podView("pod-1", [](auto record) { record.initNetwork().setResult("{\"broken"); });
  EXPECT_TRUE(json::parse(podInfo(pod))["cniResult"].is_null());
}

TEST(ContainerInfo, ShowsPidAndWhatRuns) {
  auto container = containerView("c1", State::RUNNING, [](auto record) {
    record.getConfig().initEnvs(1)[0].setKey("A");
    record.getConfig().getEnvs()[0].setValue("x\xff"_kj.asBytes());
    record.initLast().setPid(42);
    auto process = record.getSpec().initProcess();
    process.initArgs(1).set(0, "sh"_kj.asBytes());
    process.initEnv(1).set(0, "A=x\xff"_kj.asBytes());
    auto mounts = record.getSpec().initMounts(2);
    mounts[0].setDestination("/proc");
    mounts[0].getKind().setProc();
    mounts[1].setDestination("/data");
    mounts[1].setReadonly(true);
    mounts[1].getKind().initBind().setSource("/srv");
  });
  auto info = json::parse(containerInfo(container));
  EXPECT_EQ(info["sandboxID"], "pod-1");
  EXPECT_EQ(info["pid"], 42);
  EXPECT_EQ(info["config"]["metadata"]["name"], "server");
  EXPECT_EQ(info["config"]["envs"][0]["value"], "x\xef\xbf\xbd");
  auto& spec = info["runtimeSpec"];
  EXPECT_EQ(spec["process"]["args"], json({"sh"}));
  EXPECT_EQ(spec["process"]["env"][0], "A=x\xef\xbf\xbd");
  EXPECT_EQ(spec["mounts"][0],
            json({{"destination", "/proc"}, {"type", "proc"}, {"options", {"rw"}}}));
  EXPECT_EQ(spec["mounts"][1]["source"], "/srv");
  EXPECT_EQ(spec["mounts"][1]["options"][0], "ro");
}

TEST(ImageInfo, HoldsTheConfigurationAsItCame) {
  auto image = supervisor::Owned<snapshot::Image>::make([](snapshot::Image::Builder builder) {
    builder.setConfigJson("{\"architecture\":\"amd64\"}"_kj.asBytes());
    auto layers = builder.initLayers(2);
    layers[0].setChainId("sha256:low");
    layers[1].setChainId("sha256:top");
  });
  auto info = json::parse(imageInfo(image.get()));
  EXPECT_EQ(info["imageSpec"]["architecture"], "amd64");
  EXPECT_EQ(info["chainID"], "sha256:top");
}

}  // namespace
}  // namespace belay::criapi
