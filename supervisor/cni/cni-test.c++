// ADD, DEL, CHECK and STATUS against plug-ins that are shell scripts: each writes what it was given
// into a folder, and does what its configuration tells it to.
#include "supervisor/cni/cni.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using Json = nlohmann::json;
using snapshot::Code;
using ::testing::HasSubstr;

// Leaves "COMMAND TYPE" in calls, its input in COMMAND-TYPE.json and its environment beside it.
constexpr auto SCRIPT = R"(#!/bin/sh
type=${0##*/}
echo "$CNI_COMMAND $type" >>"@/calls"
cat >"@/$CNI_COMMAND-$type.json"
env >"@/$CNI_COMMAND-$type.env"
if [ -e "@/$CNI_COMMAND-$type.do" ]; then . "@/$CNI_COMMAND-$type.do"; fi
if [ "$CNI_COMMAND" = ADD ]; then
  echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}],'
  echo '"ips":[{"interface":0,"address":"10.1.0.5/16"}],"from":"'$type'"}'
fi
)"_kj;

kj::String newFolder() {
  auto folder = kj::str(::testing::TempDir(), "/cni-XXXXXX");
  KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
  return folder;
}

class CniTest : public ::testing::Test {
 protected:
  CniTest() {
    for (auto sub : {"conf", "bin"})
      mkdir(path(sub).cStr(), 0700);
    std::string script(SCRIPT.begin(), SCRIPT.size());
    for (size_t at; (at = script.find('@')) != std::string::npos;) {
      script.replace(at, 1, folder.cStr());
    }
    for (auto name : {"bin/one", "bin/two"}) {
      write(name, kj::heapString(script.data(), script.size()));
      chmod(path(name).cStr(), 0755);
    }
    setNetwork("1.0.0");
    pod.setName("web");
    pod.setNamespace("default");
    pod.setUid("u-1");
  }
  ~CniTest() noexcept override = default;

  kj::String folder = newFolder();
  kj::AsyncIoContext io = kj::setupAsyncIo();
  snapshot::Children children{io.unixEventPort};
  Cni cni{CniOptions{path("conf"), kj::arr(kj::str("/nowhere"), path("bin")), 10 * kj::SECONDS,
                     path("marks")},
          children, io.provider->getTimer()};
  capnp::MallocMessageBuilder message;
  PodConfig::Builder pod = message.initRoot<PodConfig>();

  kj::String path(kj::StringPtr name) { return kj::str(folder, "/", name); }
  void write(kj::StringPtr name, kj::StringPtr text) {
    std::ofstream(path(name).cStr()) << text.cStr();
  }
  std::string read(kj::StringPtr name) {
    std::ostringstream text;
    text << std::ifstream(path(name).cStr()).rdbuf();
    return text.str();
  }
  void setNetwork(const char* version) {
    write("conf/10.conflist",
          kj::str(R"({"name": "net", "cniVersion": ")", version, R"(", "plugins": [
      {"type": "one"}, {"type": "two", "capabilities": {"portMappings": true}}]})"));
  }

  Owned<NetworkAttachment> prepare() { return cni.prepare("POD", pod, "/run/netns/cni-none"); }
  Owned<NetworkAttachment> add() { return cni.add(prepare()).wait(io.waitScope); }
};

TEST_F(CniTest, AddRunsEachPluginWithItsPredecessorsResult) {
  auto ports = pod.initPortMappings(1);
  ports[0].setContainerPort(80);
  ports[0].setHostPort(8080);
  auto attachment = add();
  EXPECT_EQ(read("calls"), "ADD one\nADD two\n");
  ASSERT_EQ(attachment.get().getIps().size(), 1u);
  EXPECT_EQ(attachment.get().getIps()[0], "10.1.0.5");

  auto first = Json::parse(read("ADD-one.json")), second = Json::parse(read("ADD-two.json"));
  EXPECT_EQ(first["name"], "net");
  EXPECT_EQ(first["cniVersion"], "1.0.0");
  EXPECT_FALSE(first.contains("prevResult"));
  EXPECT_FALSE(first.contains("runtimeConfig"));
  EXPECT_EQ(second["prevResult"]["from"], "one");
  EXPECT_EQ(second["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);

  auto env = read("ADD-one.env");
  EXPECT_THAT(env, HasSubstr("CNI_CONTAINERID=POD\n"));
  EXPECT_THAT(env, HasSubstr("CNI_NETNS=/run/netns/cni-none\n"));
  EXPECT_THAT(env, HasSubstr("CNI_IFNAME=eth0\n"));
  EXPECT_THAT(env, HasSubstr(kj::str("CNI_PATH=/nowhere:", path("bin"), "\n").cStr()));
  EXPECT_THAT(env, HasSubstr("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
                             "K8S_POD_INFRA_CONTAINER_ID=POD;K8S_POD_UID=u-1\n"));
}

TEST_F(CniTest, DelRunsBackwardsFromTheRecordWhateverTheFolderHolds) {
  auto attachment = add();
  unlink(path("conf/10.conflist").cStr());
  unlink(path("calls").cStr());
  auto stored = Owned<NetworkAttachment>::fromBytes(attachment.bytes());
  cni.del(stored).wait(io.waitScope);
  EXPECT_EQ(read("calls"), "DEL two\nDEL one\n");
  EXPECT_EQ(Json::parse(read("DEL-one.json"))["prevResult"]["from"], "two");
  // The namespace is gone: plug-ins are told so by an empty name.
  EXPECT_THAT(read("DEL-one.env"), HasSubstr("CNI_NETNS=\n"));
}

TEST_F(CniTest, DelNamesANamespaceThatIsThere) {
  auto attachment = cni.prepare("POD", pod, "/proc/self/ns/net");
  cni.del(attachment).wait(io.waitScope);
  EXPECT_THAT(read("DEL-one.env"), HasSubstr("CNI_NETNS=/proc/self/ns/net\n"));
  EXPECT_FALSE(Json::parse(read("DEL-one.json")).contains("prevResult"));
}

TEST_F(CniTest, FailedAddStopsAndCanBeUndone) {
  write("ADD-one.do", R"(echo '{"code": 7, "msg": "bad subnet"}'; exit 1)");
  expectFailure(Code::FAILED_PRECONDITION, "CNI ADD by the plug-in one failed: bad subnet",
                [&] { add(); });
  EXPECT_EQ(read("calls"), "ADD one\n");
  cni.del(prepare()).wait(io.waitScope);
  EXPECT_EQ(read("calls"), "ADD one\nDEL two\nDEL one\n");
}

TEST_F(CniTest, OnePluginsFailingDelDoesNotKeepTheOthersFromRunning) {
  auto attachment = add();
  write("DEL-two.do", "echo broken >&2; exit 3");
  expectFailure(Code::INTERNAL, "DEL by the plug-in two failed with exit code 3: broken",
                [&] { cni.del(attachment).wait(io.waitScope); });
  EXPECT_THAT(read("calls"), HasSubstr("DEL two\nDEL one\n"));
}

// From before ADD until DEL has succeeded, so that whatever dies the address is found.
TEST_F(CniTest, WhatIsAttachedIsKnownByItsMark) {
  auto marks = [&] { return kj::strArray(cni.attached(), " "); };
  write("ADD-one.do", kj::str("ls '", path("marks"), "' >'", path("seen"), "'"));
  auto attachment = add();
  EXPECT_EQ(read("seen"), "POD\n");
  EXPECT_EQ(marks(), "POD"_kj);
  write("DEL-two.do", "exit 3");
  EXPECT_ANY_THROW(cni.del(attachment).wait(io.waitScope));
  EXPECT_EQ(marks(), "POD"_kj);
  write("DEL-two.do", "");
  cni.del(attachment).wait(io.waitScope);
  EXPECT_EQ(marks(), ""_kj);
}

TEST_F(CniTest, APodWithoutARecordIsReleasedFromTheNetworkOfNow) {
  add();
  unlink(path("calls").cStr());
  cni.release("POD").wait(io.waitScope);
  EXPECT_EQ(read("calls"), "DEL two\nDEL one\n");
  EXPECT_THAT(read("DEL-one.env"), HasSubstr("CNI_CONTAINERID=POD\n"));
  EXPECT_THAT(read("DEL-one.env"), HasSubstr("CNI_IFNAME=eth0\n"));
  EXPECT_THAT(read("DEL-one.env"), HasSubstr("CNI_NETNS=\n"));
  EXPECT_EQ(cni.attached().size(), 0u);
}

TEST_F(CniTest, NothingIsDeletedThatWasNeverBegun) {
  auto never = Owned<NetworkAttachment>::make([](auto) {});
  cni.del(never).wait(io.waitScope);
  EXPECT_EQ(read("calls"), "");
}

TEST_F(CniTest, DescendantThatKeepsTheOutputOpenDelaysNothing) {
  write("ADD-one.do", "sleep 600 & echo $! >\"" + std::string(path("sleeper").cStr()) + "\"");
  auto begin = io.provider->getTimer().now();
  add();
  EXPECT_LT(io.provider->getTimer().now() - begin, 5 * kj::SECONDS);
  pid_t sleeper = std::stoi(read("sleeper"));
  EXPECT_EQ(kill(sleeper, SIGKILL), 0) << "it was to be alive";
}

TEST_F(CniTest, HangingPluginIsKilledWithItsGroup) {
  write("ADD-one.do", "sleep 600 & echo $! >\"" + std::string(path("sleeper").cStr()) + "\"; wait");
  Cni hasty(CniOptions{path("conf"), kj::arr(path("bin")), 1 * kj::SECONDS, path("marks")},
            children, io.provider->getTimer());
  expectFailure(Code::DEADLINE_EXCEEDED, "took longer than 1 s and was killed",
                [&] { hasty.add(prepare()).wait(io.waitScope); });
  children.whenDroppedAreReaped().wait(io.waitScope);
  pid_t sleeper = std::stoi(read("sleeper"));
  // An orphan's death is seen by whoever reaps it; that it runs no more is seen at once.
  std::string state;
  for (int i = 0; i < 1000; ++i) {
    std::ifstream status(kj::str("/proc/", sleeper, "/stat").cStr());
    std::string pid, name;
    if (!(status >> pid >> name >> state) || state == "Z" || state == "X") return;
    io.provider->getTimer().afterDelay(5 * kj::MILLISECONDS).wait(io.waitScope);
  }
  ADD_FAILURE() << "the plug-in's child still runs, state " << state;
}

TEST_F(CniTest, OutputIsCapped) {
  write("ADD-one.do", "head -c 2000000 /dev/zero | tr '\\0' x; exit 0");
  expectFailure(Code::INTERNAL, "printed more than 1 MiB", [&] { add(); });
}

TEST_F(CniTest, ResultThatIsNoneIsRefused) {
  write("ADD-two.do", "exit 0");
  expectFailure(Code::INTERNAL, "printed no result", [&] { add(); });
  write("ADD-two.do", "echo '{}'; exit 0");
  expectFailure(Code::INTERNAL, "gave the pod no address on eth0", [&] { add(); });
}

TEST_F(CniTest, MissingPluginNamesTheFoldersSearched) {
  unlink(path("bin/two").cStr());
  expectFailure(Code::FAILED_PRECONDITION,
                "the plug-in two of the network net is in none of /nowhere, ", [&] { prepare(); });
  auto status = cni.status().wait(io.waitScope);
  EXPECT_FALSE(status.ready);
  EXPECT_EQ(status.reason, "NetworkPluginMissing");
}

TEST_F(CniTest, ArgumentsCannotBeSmuggledIn) {
  pod.setName("web;K8S_POD_NAMESPACE=kube-system");
  expectFailure(Code::INVALID_ARGUMENT, "contains ';'", [&] { prepare(); });
}

TEST_F(CniTest, StatusSaysWhatIsMissing) {
  EXPECT_TRUE(cni.status().wait(io.waitScope).ready);
  EXPECT_EQ(read("calls"), "") << "STATUS is of CNI 1.1.0";
  unlink(path("conf/10.conflist").cStr());
  auto status = cni.status().wait(io.waitScope);
  EXPECT_FALSE(status.ready);
  EXPECT_EQ(status.reason, "NoNetworkConfig");
  EXPECT_THAT(std::string(status.message.cStr()), HasSubstr(path("conf").cStr()));
  expectFailure(Code::FAILED_PRECONDITION, "no network configuration", [&] { prepare(); });
}

TEST_F(CniTest, NewNetworksAreAskedForTheirStatus) {
  setNetwork("1.1.0");
  EXPECT_TRUE(cni.status().wait(io.waitScope).ready);
  EXPECT_EQ(read("calls"), "STATUS one\nSTATUS two\n");
  write("STATUS-two.do", R"(echo '{"code": 50, "msg": "no uplink"}'; exit 1)");
  auto status = cni.status().wait(io.waitScope);
  EXPECT_FALSE(status.ready);
  EXPECT_EQ(status.reason, "NetworkPluginNotReady");
  EXPECT_THAT(std::string(status.message.cStr()), HasSubstr("no uplink"));
}

TEST_F(CniTest, CheckRunsForwardsAndReportsWhatIsGone) {
  auto attachment = add();
  cni.check(attachment).wait(io.waitScope);
  EXPECT_THAT(read("calls"), HasSubstr("CHECK one\nCHECK two\n"));
  write("CHECK-two.do", R"(echo '{"code": 100, "msg": "route is gone"}'; exit 1)");
  expectFailure(Code::INTERNAL, "route is gone", [&] { cni.check(attachment).wait(io.waitScope); });
}

}  // namespace
}  // namespace belay::supervisor
