// Tests for containers between the CRI and the supervisor.
#include "criapi/translate-container.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <functional>

#include "criapi/testing.h"
#include "criapi/text.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using State = supervisor::ContainerView::State;

const Field FIELD("config");

v1::ContainerConfig minimalConfig() {
  v1::ContainerConfig config;
  config.mutable_metadata()->set_name("server");
  config.mutable_image()->set_image("busybox");
  return config;
}

std::string refusalWith(std::function<void(v1::ContainerConfig&)> change) {
  auto config = minimalConfig();
  change(config);
  return refusal([&]() { containerConfigOf(config, FIELD); });
}

// A container that has exited; `change` sets how.
supervisor::ContainerView exited(std::function<void(shim::Exit::Builder)> change) {
  return containerView("c1", State::EXITED, [&](supervisor::ContainerRecord::Builder record) {
    record.initLast().setStartedAtNs(10);
    auto exit = record.getLast().initExit();
    exit.setFinishedAtNs(20);
    change(exit);
  });
}

v1::ContainerStatus statusOf(const supervisor::ContainerView& container) {
  v1::ContainerStatus status;
  readContainerStatus(container, "busybox:latest", status);
  return status;
}

TEST(ContainerConfig, EveryFieldIsTakenOver) {
  auto config = minimalConfig();
  config.mutable_metadata()->set_attempt(1);
  config.mutable_image()->set_user_specified_image("busybox:1");
  (*config.mutable_image()->mutable_annotations())["arch"] = "arm";
  config.add_command("sh");
  config.add_args("-c");
  config.set_working_dir("/tmp");
  config.add_envs()->set_key("KEY");
  config.mutable_envs(0)->set_value("not\xffutf8");
  config.add_mounts()->set_container_path("/data");
  config.mutable_mounts(0)->set_host_path("/srv");
  config.add_devices()->set_container_path("/dev/fuse");
  config.mutable_devices(0)->set_host_path("/dev/fuse");
  config.mutable_devices(0)->set_permissions("rwm");
  (*config.mutable_labels())["app"] = "web";
  (*config.mutable_annotations())["note"] = "x";
  config.set_log_path("server/0.log");
  config.set_stdin(true);
  config.set_stdin_once(true);
  config.set_tty(true);
  config.add_cdi_devices()->set_name("vendor.com/gpu=0");
  config.set_stop_signal(v1::SIGNAL_SIGQUIT);
  config.mutable_linux()->mutable_resources()->set_cpu_quota(-1);
  auto& hugepages = *config.mutable_linux()->mutable_resources()->add_hugepage_limits();
  hugepages.set_page_size("2MB");
  hugepages.set_limit(1 << 22);
  config.mutable_linux()->mutable_security_context()->set_privileged(true);

  auto owned = containerConfigOf(config, FIELD);
  auto kept = owned.get();
  EXPECT_EQ(kept.getName(), "server"_kj);
  EXPECT_EQ(kept.getAttempt(), 1);
  EXPECT_EQ(kept.getImage(), "busybox"_kj);
  EXPECT_EQ(kept.getUserSpecifiedImage(), "busybox:1"_kj);
  EXPECT_EQ(kept.getImageAnnotations()[0].getKey(), "arch"_kj);
  EXPECT_EQ(kept.getCommand()[0], "sh"_kj);
  EXPECT_EQ(kept.getArgs()[0], "-c"_kj);
  EXPECT_EQ(kept.getWorkingDir(), "/tmp"_kj);
  EXPECT_EQ(kept.getEnvs()[0].getKey(), "KEY"_kj);
  EXPECT_EQ(kj::str(kept.getEnvs()[0].getValue().asChars()), "not\xffutf8"_kj);
  EXPECT_EQ(kept.getMounts()[0].getHostPath(), "/srv"_kj);
  EXPECT_EQ(kept.getDevices()[0].getPermissions(), "rwm"_kj);
  EXPECT_EQ(kept.getLabels()[0].getKey(), "app"_kj);
  EXPECT_EQ(kept.getAnnotations()[0].getValue(), "x"_kj);
  EXPECT_EQ(kept.getLogPath(), "server/0.log"_kj);
  EXPECT_TRUE(kept.getStdin() && kept.getStdinOnce() && kept.getTty());
  EXPECT_EQ(kept.getCdiDevices()[0], "vendor.com/gpu=0"_kj);
  EXPECT_EQ(kept.getStopSignal(), SIGQUIT);
  EXPECT_EQ(kept.getResources().getCpuQuotaUs(), -1);
  EXPECT_EQ(kept.getResources().getHugepageLimits()[0].getLimitBytes(), 1 << 22);
  EXPECT_TRUE(kept.getSecurity().getPrivileged());
}

TEST(ContainerConfig, RefusalsNameFieldAndReason) {
  EXPECT_EQ(refusalWith([](auto&) {}), "accepted");
  EXPECT_EQ(refusalWith([](auto& c) { c.clear_metadata(); }),
            "config.metadata.name: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.clear_image(); }), "config.image.image: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_envs()->set_value("x"); }),
            "config.envs[0].key: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_envs()->set_key("A=B"); }),
            "config.envs[0].key: must not hold \"=\"");
  EXPECT_EQ(refusalWith([](auto& c) {
              c.add_envs()->set_key("A");
              c.mutable_envs(0)->set_value(std::string("x\0y", 3));
            }),
            "config.envs[0].value: must not hold a NUL byte");
  EXPECT_EQ(refusalWith([](auto& c) { c.set_log_path("../../etc/passwd"); }),
            "config.log_path: must be a path below the pod's log directory, not "
            "\"../../etc/passwd\"");
  EXPECT_EQ(refusalWith([](auto& c) { c.set_log_path("/var/log/x"); }),
            "config.log_path: must be a path below the pod's log directory, not \"/var/log/x\"");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_mounts()->set_container_path("/data"); }),
            "config.mounts[0].host_path: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_cdi_devices(); }),
            "config.CDI_devices[0].name: must not be empty");
  EXPECT_EQ(refusalWith([](auto& c) { c.add_args(std::string("a\0b", 3)); }),
            "config.args[0]: must not hold a NUL byte");
  EXPECT_EQ(
      refusalWith([](auto& c) { c.mutable_linux()->mutable_resources()->set_cpu_shares(-2); }),
      "config.linux.resources.cpu_shares: -2 is negative");
  EXPECT_EQ(refusalWith([](auto& c) { c.mutable_windows(); }),
            "config.windows: this node runs Linux containers");
}

TEST(ContainerStatus, HasWhatClientsRequire) {
  auto container = containerView("c1", State::RUNNING, [](auto record) {
    record.setImageRef("busybox@sha256:77");
    record.getSpec().setLogPath("/var/log/pods/web/server/0.log");
    record.getSpec().setStopSignal(SIGQUIT);
    auto last = record.initLast();
    last.setStartedAtNs(10);
    auto user = last.initUser();
    user.setUid(1000);
    user.initGroups(1).set(0, 4);
    auto config = record.getConfig();
    config.initMounts(1)[0].setContainerPath("/data");
    config.initResources().setCpuShares(512);
  });
  auto status = statusOf(container);
  EXPECT_EQ(status.id(), "c1");
  EXPECT_EQ(status.metadata().name(), "server");
  EXPECT_EQ(status.state(), v1::CONTAINER_RUNNING);
  EXPECT_EQ(status.created_at(), 9);
  EXPECT_EQ(status.started_at(), 10);
  EXPECT_EQ(status.finished_at(), 0);
  EXPECT_EQ(status.reason(), "");
  EXPECT_EQ(status.image().image(), "busybox:latest");
  EXPECT_EQ(status.image_ref(), "busybox@sha256:77");
  EXPECT_EQ(status.image_id(), "sha256:1234");
  EXPECT_EQ(status.log_path(), "/var/log/pods/web/server/0.log");
  EXPECT_EQ(status.mounts(0).container_path(), "/data");
  EXPECT_EQ(status.resources().linux().cpu_shares(), 512);
  EXPECT_EQ(status.user().linux().uid(), 1000);
  EXPECT_EQ(status.user().linux().supplemental_groups(0), 4);
  EXPECT_EQ(status.stop_signal(), v1::SIGNAL_SIGQUIT);
}

TEST(ContainerStatus, MakesDoWithoutARepoDigestAndAStopSignal) {
  auto status = statusOf(containerView("c1"));
  EXPECT_EQ(status.image_ref(), "sha256:1234");
  EXPECT_EQ(status.stop_signal(), v1::SIGNAL_SIGTERM);
  EXPECT_FALSE(status.has_user());
}

TEST(ContainerStatus, SaysHowAContainerEnded) {
  auto completed = statusOf(exited([](auto) {}));
  EXPECT_EQ(completed.state(), v1::CONTAINER_EXITED);
  EXPECT_EQ(completed.finished_at(), 20);
  EXPECT_EQ(completed.exit_code(), 0);
  EXPECT_EQ(completed.reason(), "Completed");

  EXPECT_EQ(statusOf(exited([](auto exit) { exit.setCode(3); })).reason(), "Error");

  auto oom = statusOf(exited([](auto exit) {
    exit.setCode(137);
    exit.setOomKilled(true);
  }));
  EXPECT_EQ(oom.reason(), "OOMKilled");
  EXPECT_EQ(oom.exit_code(), 137);

  auto unstarted = statusOf(exited([](auto exit) {
    exit.setCode(127);
    exit.setReason("StartError");
    exit.setMessage("start the container: /bin/no: No such file or directory");
  }));
  EXPECT_EQ(unstarted.reason(), "StartError");
  EXPECT_EQ(unstarted.message(), "start the container: /bin/no: No such file or directory");

  auto unknown = statusOf(exited([](auto exit) {
    exit.setCode(255);
    exit.setKnown(false);
  }));
  EXPECT_EQ(unknown.reason(), "Unknown");
  EXPECT_NE(unknown.message(), "");
}

TEST(ContainerStatus, DoesNotInventAnExitForOneThatRuns) {
  auto container = containerView("c1", State::UNKNOWN,
                                 [](auto record) { record.initLast().initExit().setCode(9); });
  auto status = statusOf(container);
  EXPECT_EQ(status.state(), v1::CONTAINER_UNKNOWN);
  EXPECT_EQ(status.exit_code(), 0);
  EXPECT_EQ(status.message(), "the pod's shim does not answer");
}

TEST(ContainerItem, CarriesImageAndPod) {
  v1::Container item;
  readContainer(containerView("c1"), "busybox:latest", item);
  EXPECT_EQ(item.id(), "c1");
  EXPECT_EQ(item.pod_sandbox_id(), "pod-1");
  EXPECT_EQ(item.image().image(), "busybox:latest");
  EXPECT_EQ(item.image_id(), "sha256:1234");
  EXPECT_EQ(item.image_ref(), "sha256:1234");
  EXPECT_EQ(item.created_at(), 9);
}

TEST(ImageName, IsTheWishedTagElseATagElseTheWish) {
  FakeRuntime runtime;
  auto container = [](kj::StringPtr image) {
    return containerView("c1", State::RUNNING,
                         [&](auto record) { record.getConfig().setImage(image); });
  };
  EXPECT_EQ(imageNameOf(container("sha256:1234"), runtime), "sha256:1234"_kj);
  kj::StringPtr tags[] = {"r/a:1"_kj, "r/b:2"_kj};
  runtime.store.add(imageOf("sha256:1234", tags));
  EXPECT_EQ(imageNameOf(container("sha256:1234"), runtime), "r/a:1"_kj);
  EXPECT_EQ(imageNameOf(container("r/b:2"), runtime), "r/b:2"_kj);
}

}  // namespace
}  // namespace belay::criapi
