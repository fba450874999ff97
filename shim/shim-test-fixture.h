// What the shim's system tests share: the real binary, launched and spoken to as a supervisor does,
// a rootfs of busybox, and the assertion that nothing is left behind.
#pragma once

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <functional>
#include <string>

#include "shim/shim.capnp.h"

namespace belay::shim {

// A supervisor's connection to the shim.
struct ShimClient {
  ShimClient(kj::AsyncIoContext& io, kj::AutoCloseFd socket);
  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  Shim::Client shim;
};

// Skipped, loudly, unless run as root with busybox-static.
class ShimTest : public ::testing::Test {
 protected:
  ShimTest();
  ~ShimTest() noexcept override;

  // Makes the rootfs and launches a shim.
  void SetUp() override;
  // Removes the pod unless a test has, and asserts that the shim ended well and left no mount,
  // cgroup or file.
  void TearDown() override;

  ShimClient& first() { return *KJ_ASSERT_NONNULL(client); }
  Shim::Client shim() { return first().shim; }
  // Closes the connection the shim was started with, as a supervisor that is killed does.
  void hangUp() { client = nullptr; }
  // A later supervisor's connection, through the pod's directory.
  kj::Own<ShimClient> connect();
  // The same, in place of the first one.
  void reconnect() { client = connect(); }

  using Change = std::function<void(ContainerSpec::Builder)>;

  // Answers within the limit, or throws.
  template <typename T>
  T await(kj::Promise<T> promise) {
    return io.provider->getTimer()
        .timeoutAfter(30 * kj::SECONDS, kj::mv(promise))
        .wait(io.waitScope);
  }

  void createPod(std::function<void(PodSpec::Builder)> change = nullptr);
  // The reply to createContainer with "sh -c script".
  capnp::Response<Shim::CreateContainerResults> tryCreate(kj::StringPtr id, kj::StringPtr script,
                                                          Change change = nullptr);
  // The same, which must succeed.
  Container::Client create(kj::StringPtr id, kj::StringPtr script, Change change = nullptr);
  void start(Container::Client container);
  // Creates, starts.
  Container::Client run(kj::StringPtr id, kj::StringPtr script, Change change = nullptr);
  // Waits for the exit.
  capnp::Response<Container::WaitResults> exitOf(Container::Client container);

  struct ExecAnswer {
    capnp::Response<Container::ExecSyncResults> results;
    std::string out, err;
  };
  kj::Promise<ExecAnswer> execSync(Container::Client container, kj::StringPtr script,
                                   uint64_t timeoutMs = 0, uint64_t maxBytes = 16 << 20);

  // The log of a container without its timestamps: "stdout F line\n".
  std::string logOf(kj::StringPtr id);
  std::string logPathOf(kj::StringPtr id);
  // Resolves once the log holds the text; its file is watched, not polled.
  void awaitLog(kj::StringPtr id, std::string_view text);

  // Expects "done".
  static void expectDone(Outcome::Reader outcome);
  static void expectFailed(Outcome::Reader outcome, Failure::Code code);

  kj::AsyncIoContext io;
  std::string directory;
  std::string cgroupPath;
  pid_t shimPid = -1;

  std::string podDirectory() { return directory + "/pod"; }
  int waitForShim();
  // Starts a shim in the pod's directory and connects to it.
  void launch();
  void fillPod(PodSpec::Builder pod);
  // "sh -c script" as root.
  void fillProcess(ProcessSpec::Builder process, kj::StringPtr script);

 private:
  void makeImage();
  void fillContainer(ContainerSpec::Builder spec, kj::StringPtr id, kj::StringPtr script);

  kj::Maybe<kj::Own<ShimClient>> client;
};

std::string readFile(const std::string& path);

}  // namespace belay::shim
