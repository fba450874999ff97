// Tests for the RPCs: what each asks of the supervisor, what it answers, and what it refuses before
// the supervisor hears of it.
#include "criapi/handlers.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

using snapshot::Code;
using State = supervisor::ContainerView::State;

class FixedClock final : public kj::Clock {
 public:
  kj::Date now() const override { return kj::UNIX_EPOCH + 123 * kj::NANOSECONDS; }
};

class Handlers : public ::testing::Test {
 public:
  // KJ's destructors may throw; GoogleTest's may not.
  ~Handlers() noexcept override {}

 protected:
  template <typename Response>
  Response done(kj::Promise<Response> promise) {
    return promise.wait(waitScope);
  }

  // The sentence that the call is refused with; the supervisor must not have been asked.
  template <typename Response>
  std::string refused(kj::Promise<Response> promise) {
    auto sentence = refusal([&]() { promise.wait(waitScope); });
    EXPECT_EQ(runtime.calls.size(), 0);
    return sentence;
  }

  kj::StringPtr lastCall() { return runtime.calls.back(); }

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  FakeRuntime runtime;
  FixedClock clock;
  FakeUrls urls;
  Context context{runtime, urls, kj::str("1.2.3"), clock};
};

TEST_F(Handlers, VersionHasNoEmptyField) {
  auto response = done(version(context, {}));
  EXPECT_EQ(response.version(), "0.1.0");
  EXPECT_EQ(response.runtime_name(), "belay");
  EXPECT_EQ(response.runtime_version(), "1.2.3");
  EXPECT_EQ(response.runtime_api_version(), "v1");
}

TEST_F(Handlers, StatusTellsConditionsHandlersAndFeatures) {
  auto response = done(status(context, {}));
  ASSERT_EQ(response.status().conditions_size(), 1);
  EXPECT_EQ(response.status().conditions(0).type(), "NetworkReady");
  EXPECT_FALSE(response.status().conditions(0).status());
  EXPECT_EQ(response.status().conditions(0).reason(), "NoConfig");
  ASSERT_EQ(response.runtime_handlers_size(), 2);
  EXPECT_TRUE(response.runtime_handlers(0).features().recursive_read_only_mounts());
  EXPECT_TRUE(response.features().supplemental_groups_policy());
  EXPECT_TRUE(response.features().mount_options());
  EXPECT_EQ(response.info().size(), 0);

  v1::StatusRequest verbose;
  verbose.set_verbose(true);
  EXPECT_EQ(done(status(context, verbose)).info().at("config"), "{\"root\":\"/var/lib/belay\"}");
}

TEST_F(Handlers, RuntimeConfigTellsTheCgroupDriver) {
  EXPECT_EQ(done(runtimeConfig(context, {})).linux().cgroup_driver(), v1::CGROUPFS);
}

TEST_F(Handlers, PodsAreRunStoppedAndRemoved) {
  v1::RunPodSandboxRequest run;
  run.mutable_config()->mutable_metadata()->set_name("web");
  run.mutable_config()->mutable_metadata()->set_uid("uid-1");
  run.mutable_config()->mutable_metadata()->set_namespace_("shop");
  run.set_runtime_handler("belay");
  EXPECT_EQ(done(runPodSandbox(context, run)).pod_sandbox_id(), "pod-1");
  EXPECT_EQ(lastCall(), "run-pod belay"_kj);
  EXPECT_EQ(KJ_ASSERT_NONNULL(runtime.podConfig).get().getName(), "web"_kj);

  v1::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id("pod-1");
  done(stopPodSandbox(context, stop));
  EXPECT_EQ(lastCall(), "stop-pod pod-1"_kj);
  v1::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id("pod-1");
  done(removePodSandbox(context, remove));
  EXPECT_EQ(lastCall(), "remove-pod pod-1"_kj);
}

TEST_F(Handlers, EmptyIdsAreRefusedSinceTheyWouldBeEveryIdsPrefix) {
  EXPECT_EQ(refused(stopPodSandbox(context, {})), "pod_sandbox_id: must not be empty");
  EXPECT_EQ(refused(removePodSandbox(context, {})), "pod_sandbox_id: must not be empty");
  EXPECT_EQ(refused(podSandboxStatus(context, {})), "pod_sandbox_id: must not be empty");
  EXPECT_EQ(refused(createContainer(context, {})), "pod_sandbox_id: must not be empty");
  EXPECT_EQ(refused(startContainer(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(stopContainer(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(removeContainer(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(containerStatus(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(execSync(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(reopenContainerLog(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(updateContainerResources(context, {})), "container_id: must not be empty");
  EXPECT_EQ(refused(updatePodSandboxResources(context, {})), "pod_sandbox_id: must not be empty");
}

TEST_F(Handlers, ResourcesAreUpdated) {
  v1::UpdateContainerResourcesRequest container;
  container.set_container_id("c1");
  container.mutable_linux()->set_cpu_shares(-1);
  EXPECT_EQ(refused(updateContainerResources(context, container)),
            "linux.cpu_shares: -1 is negative");
  container.mutable_linux()->set_cpu_shares(7);
  done(updateContainerResources(context, container));
  EXPECT_EQ(lastCall(), "update c1"_kj);
  EXPECT_EQ(KJ_ASSERT_NONNULL(runtime.resources).get().getCpuShares(), 7);

  v1::UpdatePodSandboxResourcesRequest pod;
  pod.set_pod_sandbox_id("pod-1");
  pod.mutable_resources()->set_cpu_shares(8);
  done(updatePodSandboxResources(context, pod));
  EXPECT_EQ(lastCall(), "update-pod pod-1 0 8"_kj);
}

TEST_F(Handlers, StatsAreOfWhatRuns) {
  runtime.allContainers.add(containerView("aaa"));
  runtime.allContainers.add(containerView("bbb"));
  runtime.allContainers.add(
      containerView("bcc", State::EXITED, [](supervisor::ContainerRecord::Builder) {}));
  runtime.pods.add(podView("pod-1"));
  EXPECT_EQ(done(listContainerStats(context, {})).stats_size(), 2);
  v1::ListContainerStatsRequest list;
  list.mutable_filter()->set_id("b");
  auto listed = done(listContainerStats(context, list));
  ASSERT_EQ(listed.stats_size(), 1);
  EXPECT_EQ(listed.stats(0).attributes().id(), "bbb");
  (*list.mutable_filter()->mutable_label_selector())["no"] = "such";
  EXPECT_EQ(done(listContainerStats(context, list)).stats_size(), 0);
  EXPECT_EQ(done(listPodSandboxStats(context, {})).stats_size(), 1);

  v1::ContainerStatsRequest one;
  one.set_container_id("aaa");
  EXPECT_EQ(done(containerStats(context, one)).stats().cpu().timestamp(), 7);
  one.set_container_id("bcc");
  auto exited = containerStats(context, one);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { exited.wait(waitScope); })) {
    EXPECT_EQ(snapshot::codeOf(*exception), Code::FAILED_PRECONDITION);
  } else {
    FAIL() << "an exited container uses something";
  }
}

TEST_F(Handlers, RunPodSandboxRefusesABadConfigBeforeAnythingIsMade) {
  EXPECT_EQ(refused(runPodSandbox(context, {})), "config.metadata.name: must not be empty");
}

TEST_F(Handlers, PodStatusComesWithItsOwnContainersOnly) {
  runtime.pods.add(podView("pod-1"));
  runtime.allContainers.add(containerView("c1"));
  runtime.allContainers.add(
      containerView("c2", State::RUNNING, [](auto record) { record.setPodId("pod-2"); }));
  v1::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id("pod");
  auto response = done(podSandboxStatus(context, request));
  EXPECT_EQ(response.status().id(), "pod-1");
  EXPECT_EQ(response.timestamp(), 123);
  ASSERT_EQ(response.containers_statuses_size(), 1);
  EXPECT_EQ(response.containers_statuses(0).id(), "c1");
  EXPECT_EQ(response.info().size(), 0);

  request.set_verbose(true);
  EXPECT_EQ(done(podSandboxStatus(context, request)).info().count("info"), 1);
}

TEST_F(Handlers, AnUnknownPodIsNotFound) {
  v1::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id("nope");
  auto promise = podSandboxStatus(context, request);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { promise.wait(waitScope); })) {
    EXPECT_EQ(snapshot::codeOf(*exception), Code::NOT_FOUND);
  } else {
    FAIL() << "found";
  }
}

TEST_F(Handlers, ListsAreFiltered) {
  runtime.pods.add(podView("aaa"));
  runtime.pods.add(podView("bbb"));
  runtime.allContainers.add(containerView("ccc"));
  EXPECT_EQ(done(listPodSandbox(context, {})).items_size(), 2);
  EXPECT_EQ(done(listContainers(context, {})).containers_size(), 1);

  v1::ListPodSandboxRequest pods;
  pods.mutable_filter()->set_id("b");
  auto response = done(listPodSandbox(context, pods));
  ASSERT_EQ(response.items_size(), 1);
  EXPECT_EQ(response.items(0).id(), "bbb");
  v1::ListContainersRequest containers;
  containers.mutable_filter()->set_pod_sandbox_id("other");
  EXPECT_EQ(done(listContainers(context, containers)).containers_size(), 0);
}

TEST_F(Handlers, ContainersAreCreatedWithThePodConfigOfTheRequest) {
  v1::CreateContainerRequest request;
  request.set_pod_sandbox_id("pod-1");
  request.mutable_config()->mutable_metadata()->set_name("server");
  request.mutable_config()->mutable_image()->set_image("busybox");
  auto& metadata = *request.mutable_sandbox_config()->mutable_metadata();
  metadata.set_name("from-request");
  metadata.set_uid("u");
  metadata.set_namespace_("n");
  EXPECT_EQ(done(createContainer(context, request)).container_id(), "container-1");
  EXPECT_EQ(lastCall(), "create pod-1"_kj);
  EXPECT_EQ(KJ_ASSERT_NONNULL(runtime.containerConfig).get().getImage(), "busybox"_kj);
  EXPECT_EQ(KJ_ASSERT_NONNULL(runtime.podConfig).get().getName(), "from-request"_kj);

  // A request without one means the pod's own.
  runtime.pods.add(podView("pod-1"));
  request.clear_sandbox_config();
  done(createContainer(context, request));
  EXPECT_EQ(KJ_ASSERT_NONNULL(runtime.podConfig).get().getName(), "web"_kj);
}

TEST_F(Handlers, ContainersAreStartedStoppedReopenedAndRemoved) {
  v1::StartContainerRequest start;
  start.set_container_id("c1");
  done(startContainer(context, start));
  EXPECT_EQ(lastCall(), "start c1"_kj);
  v1::StopContainerRequest stop;
  stop.set_container_id("c1");
  stop.set_timeout(30);
  done(stopContainer(context, stop));
  EXPECT_EQ(lastCall(), "stop c1 30"_kj);
  v1::ReopenContainerLogRequest reopen;
  reopen.set_container_id("c1");
  done(reopenContainerLog(context, reopen));
  EXPECT_EQ(lastCall(), "reopen c1"_kj);
  v1::RemoveContainerRequest remove;
  remove.set_container_id("c1");
  done(removeContainer(context, remove));
  EXPECT_EQ(lastCall(), "remove c1"_kj);
}

TEST_F(Handlers, ContainerStatusIsVerboseOnlyWhenAsked) {
  runtime.allContainers.add(containerView("c1"));
  v1::ContainerStatusRequest request;
  request.set_container_id("c1");
  EXPECT_EQ(done(containerStatus(context, request)).status().id(), "c1");
  EXPECT_EQ(done(containerStatus(context, request)).info().size(), 0);
  request.set_verbose(true);
  EXPECT_EQ(done(containerStatus(context, request)).info().count("info"), 1);
}

TEST_F(Handlers, ExecSyncAnswersWithOutputAndExitCode) {
  v1::ExecSyncRequest request;
  request.set_container_id("c1");
  EXPECT_EQ(refused(execSync(context, request)), "cmd: must not be empty");
  request.add_cmd("echo");
  request.add_cmd("hi");
  request.set_timeout(-1);
  EXPECT_EQ(refused(execSync(context, request)), "timeout: -1 is negative");

  request.set_timeout(5);
  runtime.execResult = supervisor::ExecResult{3, fileOf("hi\n"), fileOf("bad\n")};
  auto response = done(execSync(context, request));
  EXPECT_EQ(lastCall(), "exec c1 echo hi 5"_kj);
  EXPECT_EQ(response.stdout(), "hi\n");
  EXPECT_EQ(response.stderr(), "bad\n");
  EXPECT_EQ(response.exit_code(), 3);
}

TEST_F(Handlers, ImagesAreListedFoundAndMissed) {
  kj::StringPtr tags[] = {"r/a:1"_kj};
  runtime.store.add(imageOf("sha256:1", tags));
  runtime.store.add(imageOf("sha256:2", nullptr));
  EXPECT_EQ(done(listImages(context, {})).images_size(), 2);
  v1::ListImagesRequest list;
  list.mutable_filter()->mutable_image()->set_image("r/a:1");
  ASSERT_EQ(done(listImages(context, list)).images_size(), 1);
  list.mutable_filter()->mutable_image()->set_image("r/none");
  EXPECT_EQ(done(listImages(context, list)).images_size(), 0);

  v1::ImageStatusRequest status;
  status.mutable_image()->set_image("r/a:1");
  EXPECT_EQ(done(imageStatus(context, status)).image().id(), "sha256:1");
  status.mutable_image()->set_image("r/none");
  status.set_verbose(true);
  auto missing = done(imageStatus(context, status));
  EXPECT_FALSE(missing.has_image());
  EXPECT_EQ(missing.info().size(), 0);
}

TEST_F(Handlers, PullsAndRemovesImages) {
  v1::PullImageRequest pull;
  pull.mutable_image()->set_image("r/a:1");
  pull.mutable_auth()->set_username("u");
  EXPECT_EQ(done(pullImage(context, pull)).image_ref(), "sha256:1234");
  EXPECT_EQ(lastCall(), "pull r/a:1"_kj);
  EXPECT_EQ(runtime.credentials.username, "u"_kj);

  v1::RemoveImageRequest remove;
  remove.mutable_image()->set_image("r/a:1");
  done(removeImage(context, remove));
  EXPECT_EQ(lastCall(), "remove-image r/a:1"_kj);
}

TEST_F(Handlers, PullForAnUnknownHandlerIsRefused) {
  v1::PullImageRequest pull;
  pull.mutable_image()->set_image("r/a:1");
  pull.mutable_image()->set_runtime_handler("kata");
  EXPECT_EQ(refused(pullImage(context, pull)),
            "image.runtime_handler: there is no runtime handler \"kata\"");
  pull.mutable_image()->set_runtime_handler("belay");
  EXPECT_EQ(done(pullImage(context, pull)).image_ref(), "sha256:1234");
}

TEST_F(Handlers, AnUnreachableRegistryIsMarkedForTheKubelet) {
  v1::PullImageRequest pull;
  pull.mutable_image()->set_image("r/a:1");
  runtime.failure = snapshot::failure(Code::UNAVAILABLE, "no route to registry");
  auto promise = pullImage(context, pull);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { promise.wait(waitScope); })) {
    EXPECT_EQ(snapshot::codeOf(*exception), Code::UNAVAILABLE);
    EXPECT_EQ(snapshot::messageOf(*exception), "RegistryUnavailable: no route to registry"_kj);
  } else {
    FAIL() << "pulled";
  }
}

TEST_F(Handlers, ImageFsInfoNamesOneFileSystemTwice) {
  auto response = done(imageFsInfo(context, {}));
  ASSERT_EQ(response.image_filesystems_size(), 1);
  EXPECT_EQ(response.image_filesystems(0).fs_id().mountpoint(), "/var/lib/belay");
  EXPECT_EQ(response.image_filesystems(0).used_bytes().value(), 4096);
  EXPECT_EQ(response.image_filesystems(0).inodes_used().value(), 3);
  EXPECT_EQ(response.image_filesystems(0).timestamp(), 11);
  ASSERT_EQ(response.container_filesystems_size(), 1);
  EXPECT_EQ(response.container_filesystems(0).SerializeAsString(),
            response.image_filesystems(0).SerializeAsString());
}

// --- streams

v1::ExecRequest execRequest() {
  v1::ExecRequest request;
  request.set_container_id("cont");
  request.add_cmd("sh");
  request.set_stdout(true);
  return request;
}

TEST_F(Handlers, ExecAnswersWithAUrlForWhatWasAsked) {
  runtime.allContainers.add(containerView("container-1"));
  auto request = execRequest();
  request.add_cmd("-c");
  request.set_stdin(true);
  request.set_tty(true);
  EXPECT_EQ(done(exec(context, request)).url(), "http://127.0.0.1:1/1");
  auto& asked = urls.requests[0].get<streaming::ExecRequest>();
  EXPECT_EQ(asked.containerId, "container-1");
  EXPECT_EQ(kj::strArray(asked.command, " "), "sh -c");
  EXPECT_TRUE(asked.tty && asked.streams.in && asked.streams.out && !asked.streams.err);
}

TEST_F(Handlers, ExecRefusesWhatCannotBeStreamed) {
  runtime.allContainers.add(containerView("container-1"));
  auto request = execRequest();
  request.clear_container_id();
  EXPECT_EQ(refused(exec(context, request)), "container_id: must not be empty");
  request = execRequest();
  request.clear_cmd();
  EXPECT_EQ(refused(exec(context, request)), "cmd: must not be empty");
  request = execRequest();
  request.set_stdout(false);
  EXPECT_EQ(refused(exec(context, request)),
            "stdin: at least one of stdin, stdout and stderr must be true");
  request = execRequest();
  request.set_tty(true);
  request.set_stderr(true);
  EXPECT_EQ(refused(exec(context, request)),
            "stderr: must be false with a tty, whose only output is stdout");
  EXPECT_EQ(urls.requests.size(), 0u);
}

TEST_F(Handlers, ExecAndAttachNeedARunningContainer) {
  auto none = [](supervisor::ContainerRecord::Builder) {};
  auto codeOf = [&](auto&& promise) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { promise.wait(waitScope); })) {
      return snapshot::codeOf(*exception);
    }
    return snapshot::Code::INTERNAL;
  };
  auto request = execRequest();
  EXPECT_EQ(codeOf(exec(context, request)), snapshot::Code::NOT_FOUND);
  using State = supervisor::ContainerView::State;
  for (auto state : {State::CREATED, State::EXITED, State::UNKNOWN}) {
    runtime.allContainers.clear();
    runtime.allContainers.add(containerView("container-1", state, none));
    auto expected =
        state == State::UNKNOWN ? snapshot::Code::UNAVAILABLE : snapshot::Code::FAILED_PRECONDITION;
    EXPECT_EQ(codeOf(exec(context, request)), expected);
    v1::AttachRequest attachment;
    attachment.set_container_id("container-1");
    attachment.set_stdout(true);
    EXPECT_EQ(codeOf(attach(context, attachment)), expected);
  }
  EXPECT_EQ(urls.requests.size(), 0u);
}

TEST_F(Handlers, AttachNeedsAStdinToAttachTo) {
  runtime.allContainers.add(containerView("container-1"));
  v1::AttachRequest request;
  request.set_container_id("container-1");
  request.set_stdin(true);
  EXPECT_EQ(refused(attach(context, request)),
            "stdin: container container-1 was made without stdin");
  runtime.allContainers.clear();
  runtime.allContainers.add(containerView("container-1", supervisor::ContainerView::State::RUNNING,
                                          [](supervisor::ContainerRecord::Builder container) {
                                            container.getConfig().setStdin(true);
                                          }));
  EXPECT_EQ(done(attach(context, request)).url(), "http://127.0.0.1:1/1");
  EXPECT_TRUE(urls.requests[0].get<streaming::AttachRequest>().streams.in);
}

TEST_F(Handlers, PortForwardChecksPortsAndPod) {
  runtime.pods.add(podView("pod-1"));
  v1::PortForwardRequest request;
  request.set_pod_sandbox_id("pod-1");
  request.add_port(80);
  for (int port : {0, -1, 65536}) {
    auto bad = request;
    bad.add_port(port);
    EXPECT_EQ(refused(portForward(context, bad)),
              kj::str("port[1]: ", port, " is not between 1 and 65535").cStr());
  }
  EXPECT_EQ(done(portForward(context, request)).url(), "http://127.0.0.1:1/1");
  auto& asked = urls.requests[0].get<streaming::PortForwardRequest>();
  EXPECT_EQ(asked.podId, "pod-1");
  EXPECT_EQ(asked.ports.asPtr(), kj::arr<uint16_t>(80).asPtr());
  runtime.pods[0].ready = false;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                              [&]() { portForward(context, request).wait(waitScope); })) {
    EXPECT_EQ(snapshot::codeOf(*exception), snapshot::Code::FAILED_PRECONDITION);
  } else {
    ADD_FAILURE() << "accepted";
  }
}

}  // namespace
}  // namespace belay::criapi
