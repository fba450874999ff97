// What the tests of this folder share: a supervisor that remembers what it was asked, and records
// to report.
#pragma once

#include <kj/debug.h>
#include <kj/vector.h>
#include <sys/mman.h>
#include <unistd.h>

#include "criapi/streaming/stream-request.h"
#include "snapshot/failure.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// The sentence that `action` is refused with: INVALID_ARGUMENT, or the test learns otherwise.
template <typename Action>
std::string refusal(Action&& action) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { action(); })) {
    if (snapshot::codeOf(*exception) != snapshot::Code::INVALID_ARGUMENT) {
      return kj::str("not INVALID_ARGUMENT but ", *exception).cStr();
    }
    return snapshot::messageOf(*exception).cStr();
  }
  return "accepted";
}

// A memory file that holds `bytes`.
inline kj::AutoCloseFd fileOf(kj::StringPtr bytes) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("test", MFD_CLOEXEC));
  kj::AutoCloseFd file(fd);
  ssize_t written;
  KJ_SYSCALL(written = write(file, bytes.begin(), bytes.size()));
  KJ_ASSERT(written == bytes.size());
  return file;
}

template <typename Change>
supervisor::PodView podView(kj::StringPtr id, Change&& change) {
  return {supervisor::Owned<supervisor::PodRecord>::make([&](supervisor::PodRecord::Builder pod) {
            pod.setId(id);
            pod.setCreatedAtNs(7);
            auto config = pod.initConfig();
            config.setName("web");
            config.setUid("uid-1");
            config.setNamespace("shop");
            config.setAttempt(2);
            change(pod);
          }),
          true};
}

inline supervisor::PodView podView(kj::StringPtr id) {
  return podView(id, [](supervisor::PodRecord::Builder) {});
}

template <typename Change>
supervisor::ContainerView containerView(kj::StringPtr id, supervisor::ContainerView::State state,
                                        Change&& change) {
  return {supervisor::Owned<supervisor::ContainerRecord>::make(
              [&](supervisor::ContainerRecord::Builder container) {
                container.setId(id);
                container.setPodId("pod-1");
                container.setImageId("sha256:1234");
                container.setCreatedAtNs(9);
                container.initConfig().setName("server");
                change(container);
              }),
          state};
}

inline supervisor::ContainerView containerView(kj::StringPtr id) {
  return containerView(id, supervisor::ContainerView::State::RUNNING,
                       [](supervisor::ContainerRecord::Builder) {});
}

inline supervisor::Owned<snapshot::Image> imageOf(kj::StringPtr id,
                                                  kj::ArrayPtr<const kj::StringPtr> tags) {
  return supervisor::Owned<snapshot::Image>::make([&](snapshot::Image::Builder image) {
    image.setId(id);
    image.setSizeBytes(4096);
    auto list = image.initRepoTags(tags.size());
    for (size_t i = 0; i < tags.size(); ++i) {
      list.set(i, tags[i]);
    }
  });
}

// Remembers what URLs were asked for.
class FakeUrls final : public streaming::StreamUrls {
 public:
  kj::Vector<streaming::StreamRequest> requests;
  kj::String urlFor(streaming::StreamRequest request) override {
    requests.add(kj::mv(request));
    return kj::str("http://127.0.0.1:1/", requests.size());
  }
};

// Answers from what the test put into it, and writes down every call that changes something as
// "verb argument ...".
class FakeRuntime final : public supervisor::Runtime {
 public:
  kj::Vector<supervisor::PodView> pods;
  kj::Vector<supervisor::ContainerView> allContainers;
  kj::Vector<supervisor::Owned<snapshot::Image>> store;
  kj::Vector<kj::String> calls;
  kj::Maybe<supervisor::Owned<supervisor::PodConfig>> podConfig;
  kj::Maybe<supervisor::Owned<supervisor::ContainerConfig>> containerConfig;
  kj::Maybe<supervisor::Owned<supervisor::LinuxResources>> resources;
  supervisor::Owned<shim::CgroupUsage> cgroupUsage = supervisor::Owned<shim::CgroupUsage>::make(
      [](shim::CgroupUsage::Builder usage) { usage.setTimeNs(7); });
  kj::Maybe<kj::Exception> failure;
  kj::Maybe<supervisor::ExecResult> execResult;
  supervisor::PullCredentials credentials;

  kj::Promise<supervisor::RuntimeStatus> status(bool verbose) override {
    supervisor::RuntimeStatus status;
    status.conditions = kj::heapArray<supervisor::Condition>(1);
    status.conditions[0] = {kj::str("NetworkReady"), false, kj::str("NoConfig"),
                            kj::str("no CNI configuration in /etc/cni/net.d")};
    status.handlers = kj::heapArray<supervisor::HandlerView>(2);
    status.handlers[0] = {kj::str(""), true, false};
    status.handlers[1] = {kj::str("belay"), true, false};
    status.supplementalGroupsPolicy = true;
    status.userNamespacesHostNetwork = false;
    status.configJson = kj::str(verbose ? "{\"root\":\"/var/lib/belay\"}" : "");
    return status;
  }

  bool systemdCgroupDriver() override { return false; }

  kj::Promise<kj::String> runPodSandbox(supervisor::Owned<supervisor::PodConfig> config,
                                        kj::String handler) override {
    podConfig = kj::mv(config);
    return called(kj::str("run-pod ", handler)).then([]() { return kj::str("pod-1"); });
  }

  kj::Promise<void> stopPodSandbox(kj::String id) override { return called("stop-pod ", id); }
  kj::Promise<void> removePodSandbox(kj::String id) override { return called("remove-pod ", id); }

  kj::Promise<void> updatePodSandboxResources(
      kj::String id, kj::Maybe<supervisor::Owned<supervisor::LinuxResources>> overhead,
      kj::Maybe<supervisor::Owned<supervisor::LinuxResources>> newResources) override {
    auto shares = [](auto& given) {
      return given.map([](auto& value) { return value.get().getCpuShares(); }).orDefault(0);
    };
    return called("update-pod ", id, ' ', shares(overhead), ' ', shares(newResources));
  }

  supervisor::PodView podSandbox(kj::StringPtr id) override {
    for (auto& pod : pods) {
      if (pod.record.get().getId().startsWith(id)) return pod;
    }
    snapshot::fail(snapshot::Code::NOT_FOUND, "there is no pod ", id);
  }

  kj::Array<supervisor::PodView> podSandboxes() override {
    return KJ_MAP(pod, pods) {
      return pod;
    };
  }

  kj::Promise<kj::String> createContainer(
      kj::String podId, supervisor::Owned<supervisor::ContainerConfig> config,
      supervisor::Owned<supervisor::PodConfig> newPodConfig) override {
    containerConfig = kj::mv(config);
    podConfig = kj::mv(newPodConfig);
    return called("create ", podId).then([]() { return kj::str("container-1"); });
  }

  kj::Promise<void> startContainer(kj::String id) override { return called("start ", id); }
  kj::Promise<void> stopContainer(kj::String id, int64_t timeoutSeconds) override {
    return called("stop ", id, ' ', timeoutSeconds);
  }
  kj::Promise<void> removeContainer(kj::String id) override { return called("remove ", id); }

  kj::Promise<void> updateContainerResources(
      kj::String id, supervisor::Owned<supervisor::LinuxResources> change) override {
    resources = kj::mv(change);
    return called("update ", id);
  }

  supervisor::ContainerView container(kj::StringPtr id) override {
    for (auto& container : allContainers) {
      if (container.record.get().getId().startsWith(id)) return container;
    }
    snapshot::fail(snapshot::Code::NOT_FOUND, "there is no container ", id);
  }

  kj::Array<supervisor::ContainerView> containers() override {
    return KJ_MAP(container, allContainers) {
      return container;
    };
  }

  kj::Promise<supervisor::ExecResult> execSync(kj::String id, kj::Array<kj::String> command,
                                               int64_t timeoutSeconds) override {
    return called("exec ", id, ' ', kj::strArray(command, " "), ' ', timeoutSeconds).then([this]() {
      return kj::mv(KJ_ASSERT_NONNULL(execResult));
    });
  }

  kj::Promise<void> reopenContainerLog(kj::String id) override { return called("reopen ", id); }

  // Of those that run, as the supervisor does.
  kj::Promise<kj::Array<supervisor::ContainerUsageView>> containerUsage(
      kj::Array<supervisor::ContainerView> wanted) override {
    kj::Vector<supervisor::ContainerUsageView> usage;
    for (auto& view : wanted) {
      if (view.state != supervisor::ContainerView::State::RUNNING) continue;
      usage.add(supervisor::ContainerUsageView{view.record, cgroupUsage, nullptr});
    }
    return usage.releaseAsArray();
  }
  kj::Promise<kj::Array<supervisor::PodUsageView>> podUsage(
      kj::Array<supervisor::PodView> wanted) override {
    kj::Vector<supervisor::PodUsageView> usage;
    for (auto& view : wanted) {
      if (!view.ready) continue;
      auto pod = supervisor::Owned<shim::PodUsage>::make(
          [&](shim::PodUsage::Builder to) { to.setCgroup(cgroupUsage.get()); });
      usage.add(supervisor::PodUsageView{view.record, kj::mv(pod), nullptr});
    }
    return usage.releaseAsArray();
  }

  static kj::String nameOf(supervisor::StreamSet streams) {
    return kj::str(streams.in ? "in " : "", streams.out ? "out " : "", streams.err ? "err" : "");
  }
  kj::Promise<kj::AutoCloseFd> exec(kj::String id, kj::Array<kj::String> command, bool terminal,
                                    supervisor::StreamSet streams) override {
    auto words = kj::strArray(command, " ");
    return called("exec ", id, ": ", words, terminal ? " tty " : " ", nameOf(streams)).then([]() {
      return fileOf("socket");
    });
  }
  kj::Promise<kj::AutoCloseFd> attach(kj::String id, supervisor::StreamSet streams) override {
    return called("attach ", id, " ", nameOf(streams)).then([]() { return fileOf("socket"); });
  }
  kj::Promise<kj::AutoCloseFd> portForward(kj::String podId) override {
    return called("port-forward ", podId).then([]() { return fileOf("socket"); });
  }

  kj::Promise<kj::String> pullImage(kj::String reference,
                                    supervisor::PullCredentials newCredentials) override {
    credentials = kj::mv(newCredentials);
    return called("pull ", reference).then([]() { return kj::str("sha256:1234"); });
  }

  kj::Promise<void> removeImage(kj::String reference) override {
    return called("remove-image ", reference);
  }

  kj::Maybe<supervisor::Owned<snapshot::Image>> image(kj::StringPtr reference) override {
    for (auto& image : store) {
      if (image.get().getId() == reference) return image;
      for (auto tag : image.get().getRepoTags()) {
        if (tag == reference) return image;
      }
    }
    return nullptr;
  }

  kj::Array<supervisor::Owned<snapshot::Image>> images() override {
    return KJ_MAP(image, store) {
      return image;
    };
  }

  kj::Promise<supervisor::FilesystemUsage> imageFilesystem() override {
    return supervisor::FilesystemUsage{11, kj::str("/var/lib/belay"), 4096, 3};
  }

 private:
  template <typename... Parts>
  kj::Promise<void> called(Parts&&... parts) {
    calls.add(kj::str(kj::fwd<Parts>(parts)...));
    KJ_IF_MAYBE (exception, failure) return kj::cp(*exception);
    return kj::READY_NOW;
  }
};

}  // namespace belay::criapi
