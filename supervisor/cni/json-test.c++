// CNI's JSON: network lists, capability arguments, results, errors.
#include <capnp/message.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "supervisor/cni/capability-args.h"
#include "supervisor/cni/network-list.h"
#include "supervisor/cni/result.h"
#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using Json = nlohmann::json;
using snapshot::Code;

class NetworkLists : public ::testing::Test {
 protected:
  NetworkLists() : folder(kj::str(::testing::TempDir(), "/cni-XXXXXX")) {
    KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
  }
  ~NetworkLists() noexcept override = default;

  kj::String folder;

  void write(kj::StringPtr name, kj::StringPtr text) {
    auto path = kj::str(folder, "/", name);
    kj::AutoCloseFd file(open(path.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    kj::FdOutputStream(file.get()).write(text.begin(), text.size());
  }
};

TEST_F(NetworkLists, FirstFileByNameCounts) {
  write("20-b.conflist", R"({"name": "b", "cniVersion": "1.0.0", "plugins": [{"type": "x"}]})");
  write("10-a.conf", R"({"name": "a", "cniVersion": "0.4.0", "type": "bridge", "mtu": 9000})");
  write("05-readme.txt", "not a network");
  auto list = loadNetworkList(folder);
  EXPECT_EQ(list.name, "a");
  EXPECT_EQ(list.version, "0.4.0");
  ASSERT_EQ(list.types.size(), 1u);
  EXPECT_EQ(list.types[0], "bridge");
  EXPECT_EQ(list.plugins[0]["mtu"], 9000);
}

TEST_F(NetworkLists, RecordedTextMeansTheSame) {
  write("a.conflist", R"({"name": "a", "cniVersion": "1.0.0", "disableCheck": true,
                         "plugins": [{"type": "x"}, {"type": "y", "k": [1]}]})");
  auto list = loadNetworkList(folder);
  auto again = parseNetworkList(list.text);
  EXPECT_EQ(again.text, list.text);
  EXPECT_EQ(again.plugins, list.plugins);
  EXPECT_TRUE(again.disableCheck);
}

TEST_F(NetworkLists, NewestVersionKnownToBothIsSpoken) {
  auto version = [](const char* versions) {
    auto text = kj::str(R"({"name": "a", )", versions, R"(, "plugins": [{"type": "x"}]})");
    return std::string(parseNetworkList(text).version.cStr());
  };
  EXPECT_EQ(version(R"("cniVersion": "0.3.1")"), "0.3.1");
  EXPECT_EQ(version(R"("cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0", "7.0.0"])"),
            "1.1.0");
  EXPECT_EQ(version(R"("disableCheck": false)"), "0.1.0");
  EXPECT_TRUE(
      parseNetworkList(R"({"name": "a", "cniVersion": "1.1.0", "plugins": [{"type": "x"}]})")
          .versionAtLeast(1, 1));
}

TEST_F(NetworkLists, PluginsOfTheNetworksFolderAreAppended) {
  auto inner = kj::str(folder, "/net");
  mkdir(inner.cStr(), 0700);
  write("net/50-more.conf", R"({"type": "late"})");
  write("net/40-more.conf", R"({"type": "early"})");
  auto text = [](const char* only) {
    return kj::str(R"({"name": "net", "cniVersion": "1.1.0", "loadOnlyInlinedPlugins": )", only,
                   R"(, "plugins": [{"type": "x"}]})");
  };
  write("net.conflist", text("false"));
  auto types = loadNetworkList(folder).types;
  ASSERT_EQ(types.size(), 3u);
  EXPECT_EQ(types[1], "early");
  EXPECT_EQ(types[2], "late");
  write("net.conflist", text("true"));
  EXPECT_EQ(loadNetworkList(folder).types.size(), 1u);
}

TEST_F(NetworkLists, MissingAndBrokenOnesSayFolderFileAndReason) {
  auto refused = [&](const char* text, const char* sentence) {
    write("10-x.conflist", text);
    auto whole = kj::str(sentence);
    expectFailure(Code::FAILED_PRECONDITION, whole.cStr(), [&] { loadNetworkList(folder); });
    expectFailure(Code::FAILED_PRECONDITION, kj::str(folder, "/10-x.conflist").cStr(),
                  [&] { loadNetworkList(folder); });
  };
  expectFailure(Code::FAILED_PRECONDITION, kj::str("the folder ", folder, " holds no file").cStr(),
                [&] { loadNetworkList(folder); });
  expectFailure(Code::FAILED_PRECONDITION, "/nowhere cannot be listed: No such file",
                [&] { loadNetworkList("/nowhere"); });
  refused("{", "not a JSON object");
  refused(R"({"plugins": [{"type": "x"}]})", "name \"\" is missing");
  refused(R"({"name": "a b", "plugins": [{"type": "x"}]})", "name \"a b\" is missing or not");
  refused(R"({"name": "a", "plugins": []})", "not a list with a plug-in");
  refused(R"({"name": "a", "plugins": {"type": "x"}})", "not a list with a plug-in");
  refused(R"({"name": "a", "plugins": [7]})", "a plug-in is not an object");
  refused(R"({"name": "a", "plugins": [{"type": "../../bin/sh"}]})", "not a plain file name");
  refused(R"({"name": "a", "plugins": [{"type": ".."}]})", "not a plain file name");
  refused(R"({"name": "a", "cniVersion": "9.0.0", "plugins": [{"type": "x"}]})",
          "\"9.0.0\" is none");
  refused(R"({"name": "a", "cniVersion": 1, "plugins": [{"type": "x"}]})", "is not a string");
}

class CapabilityArguments : public ::testing::Test {
 protected:
  ~CapabilityArguments() noexcept override = default;
  capnp::MallocMessageBuilder message;
  PodConfig::Builder pod = message.initRoot<PodConfig>();
};

TEST_F(CapabilityArguments, HostPortsAloneAreMapped) {
  auto ports = pod.initPortMappings(2);
  ports[0].setContainerPort(80);
  ports[0].setHostPort(8080);
  ports[0].setHostIp("127.0.0.1");
  ports[1].setContainerPort(53);
  ports[1].setProtocol(PortMapping::Protocol::UDP);
  auto all = capabilityArguments(pod);
  EXPECT_EQ(all["portMappings"], Json::parse(R"([{"hostPort": 8080, "containerPort": 80,
                                                 "protocol": "tcp", "hostIP": "127.0.0.1"}])"));
  ports[0].setHostPort(70000);
  expectFailure(Code::INVALID_ARGUMENT, "host_port 70000 is not a port",
                [&] { capabilityArguments(pod); });
  ports[0].setHostPort(1);
  ports[0].setHostIp("localhost");
  expectFailure(Code::INVALID_ARGUMENT, "host_ip \"localhost\"", [&] { capabilityArguments(pod); });
}

TEST_F(CapabilityArguments, BandwidthComesFromAnnotations) {
  auto annotation = pod.initAnnotations(1)[0];
  annotation.setKey("kubernetes.io/ingress-bandwidth");
  annotation.setValue("10M");
  EXPECT_EQ(capabilityArguments(pod)["bandwidth"]["ingressRate"], 10000000);
  annotation.setValue("fast");
  expectFailure(Code::INVALID_ARGUMENT, "ingress-bandwidth \"fast\"",
                [&] { capabilityArguments(pod); });
}

TEST_F(CapabilityArguments, PluginsGetWhatTheyDeclare) {
  auto all = Json::parse(R"({"portMappings": [1], "dns": {"servers": []}, "bandwidth": {}})");
  auto plugin =
      Json::parse(R"({"capabilities": {"portMappings": true, "dns": false, "mac": true}})");
  EXPECT_EQ(argumentsFor(plugin, all), Json::parse(R"({"portMappings": [1]})"));
  EXPECT_TRUE(argumentsFor(Json::object(), all).empty());
}

TEST_F(CapabilityArguments, QuantitiesAreKubernetes) {
  auto value = [](kj::StringPtr text) { return parseQuantity(text).orDefault(~0ull); };
  EXPECT_EQ(value("1500"), 1500u);
  EXPECT_EQ(value("1.5k"), 1500u);
  EXPECT_EQ(value("2Mi"), 2u << 20);
  EXPECT_EQ(value("1e3"), 1000u);
  for (auto wrong : {"", "-1", "M", "1X", "0x10", "1e99", "nan", " 1"}) {
    EXPECT_EQ(value(wrong), ~0ull) << wrong;
  }
}

TEST(Results, AddressesAreThePodsInterfaces) {
  auto result = Json::parse(R"({
    "interfaces": [{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
    "ips": [{"interface": 2, "address": "10.1.0.5/16"}, {"interface": 0, "address": "10.1.0.1/16"},
            {"address": "fd00::5/64"}, {"interface": 9, "address": "10.9.9.9/8"}]})");
  auto ips = addressesOf(result, "eth0");
  ASSERT_EQ(ips.size(), 2u);
  EXPECT_EQ(ips[0], "10.1.0.5");
  EXPECT_EQ(ips[1], "fd00::5");
}

TEST(Results, OldFormatsAreRead) {
  auto ips = addressesOf(Json::parse(R"({"ip4": {"ip": "10.1.0.5/16"}})"), "eth0");
  ASSERT_EQ(ips.size(), 1u);
  EXPECT_EQ(ips[0], "10.1.0.5");
}

TEST(Results, AddressesThatAreNoneAreRefused) {
  for (auto text : {R"({"ips": [{"address": "10.1.0.5\nevil/16"}]})",
                    R"({"ips": [{"address": 7}]})", R"({"ips": [{}]})"}) {
    expectFailure(Code::INTERNAL, "for an address",
                  [&] { addressesOf(Json::parse(text), "eth0"); });
  }
  EXPECT_EQ(addressesOf(Json::parse(R"({"ips": [7]})"), "eth0").size(), 0u);
}

TEST(Failures, PluginsWordsAreKept) {
  snapshot::ExitStatus status{.exitCode = 1};
  auto told = pluginFailure("CNI ADD by the plug-in bridge", status,
                            R"({"code": 11, "msg": "busy", "details": "lock\nheld"})", "");
  EXPECT_EQ(snapshot::codeOf(told), Code::UNAVAILABLE);
  EXPECT_EQ(snapshot::messageOf(told),
            "CNI ADD by the plug-in bridge failed: busy (lock held), CNI code 11");
  auto silent = pluginFailure("CNI ADD by the plug-in bridge", status, "", "");
  EXPECT_EQ(snapshot::messageOf(silent),
            "CNI ADD by the plug-in bridge failed with exit code 1, and said nothing");
  auto raw = pluginFailure("X", status, "", "no iptables\n");
  EXPECT_EQ(snapshot::messageOf(raw), "X failed with exit code 1: no iptables");
  EXPECT_EQ(snapshot::codeOf(raw), Code::INTERNAL);
}

}  // namespace
}  // namespace belay::supervisor
