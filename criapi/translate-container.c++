// Containers: a ContainerConfig as the supervisor keeps it, and a kept container as the CRI reports
// it.
#include "criapi/translate-container.h"

#include "criapi/stop-signal.h"
#include "criapi/text.h"
#include "criapi/translate-mount.h"
#include "criapi/translate-resources.h"
#include "criapi/translate-security.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using State = supervisor::ContainerView::State;

// An environment variable. Its value is bytes to the CRI, but execve(2) ends it at a NUL.
void fillEnv(supervisor::Env::Builder builder, const v1::KeyValue& env, const Field& field) {
  auto key = requiredText(env.key(), field["key"]);
  if (key.findFirst('=') != nullptr) field["key"].refuse("must not hold \"=\"");
  if (env.value().find('\0') != std::string::npos) {
    field["value"].refuse("must not hold a NUL byte");
  }
  builder.setKey(key);
  builder.setValue(kj::ArrayPtr<const char>(env.value().data(), env.value().size()).asBytes());
}

void fillImage(supervisor::ContainerConfig::Builder builder, const v1::ImageSpec& image,
               const Field& field) {
  builder.setImage(requiredText(image.image(), field["image"]));
  builder.setUserSpecifiedImage(
      requestText(image.user_specified_image(), field["user_specified_image"]));
  fillPairs(builder.initImageAnnotations(image.annotations().size()), image.annotations(),
            field["annotations"]);
}

void fillLogPath(supervisor::ContainerConfig::Builder builder, const std::string& path,
                 const Field& field) {
  auto text = requestText(path, field);
  if (text.startsWith("/") || climbs(text)) {
    field.refuse("must be a path below the pod's log directory, not \"", text, "\"");
  }
  builder.setLogPath(text);
}

void fillContainerConfig(supervisor::ContainerConfig::Builder builder,
                         const v1::ContainerConfig& config, const Field& field) {
  builder.setName(requiredText(config.metadata().name(), field["metadata"]["name"]));
  builder.setAttempt(config.metadata().attempt());
  fillImage(builder, config.image(), field["image"]);
  fillTexts(builder.initCommand(config.command_size()), config.command(), field["command"]);
  fillTexts(builder.initArgs(config.args_size()), config.args(), field["args"]);
  builder.setWorkingDir(requestText(config.working_dir(), field["working_dir"]));

  auto envs = builder.initEnvs(config.envs_size());
  const Field envsField = field["envs"];
  for (int i = 0; i < config.envs_size(); ++i) {
    fillEnv(envs[i], config.envs(i), envsField.at(i));
  }
  auto mounts = builder.initMounts(config.mounts_size());
  const Field mountsField = field["mounts"];
  for (int i = 0; i < config.mounts_size(); ++i) {
    fillMount(mounts[i], config.mounts(i), mountsField.at(i));
  }
  auto devices = builder.initDevices(config.devices_size());
  const Field devicesField = field["devices"];
  for (int i = 0; i < config.devices_size(); ++i) {
    fillDevice(devices[i], config.devices(i), devicesField.at(i));
  }
  auto cdiDevices = builder.initCdiDevices(config.cdi_devices_size());
  const Field cdiField = field["CDI_devices"];
  for (int i = 0; i < config.cdi_devices_size(); ++i) {
    cdiDevices.set(i, requiredText(config.cdi_devices(i).name(), cdiField.at(i)["name"]));
  }

  fillPairs(builder.initLabels(config.labels().size()), config.labels(), field["labels"]);
  fillPairs(builder.initAnnotations(config.annotations().size()), config.annotations(),
            field["annotations"]);
  fillLogPath(builder, config.log_path(), field["log_path"]);
  builder.setStdin(config.stdin());
  builder.setStdinOnce(config.stdin_once());
  builder.setTty(config.tty());
  builder.setStopSignal(signalNumber(config.stop_signal(), field["stop_signal"]));

  const Field linuxField = field["linux"];
  fillResources(builder.initResources(), config.linux().resources(), linuxField["resources"]);
  fillContainerSecurity(builder.initSecurity(), config.linux().security_context(),
                        linuxField["security_context"]);
  if (config.has_windows()) field["windows"].refuse("this node runs Linux containers");
}

void readImageSpec(supervisor::ContainerConfig::Reader config, kj::StringPtr imageName,
                   v1::ImageSpec& spec) {
  spec.set_image(replyText(imageName));
  spec.set_user_specified_image(replyText(config.getUserSpecifiedImage()));
  readPairs(config.getImageAnnotations(), *spec.mutable_annotations());
}

// "Digested reference to the image in use"; a client rejects a status without one.
std::string imageRefOf(supervisor::ContainerRecord::Reader record) {
  return replyText(record.getImageRef().size() > 0 ? record.getImageRef() : record.getImageId());
}

// One word for why a container has ended. "OOMKilled" is the CRI's own, "Completed" and "Error"
// what the kubelet and its users have always been told.
kj::StringPtr reasonOf(shim::Exit::Reader exit) {
  if (exit.getReason().size() > 0) return exit.getReason();
  if (exit.getOomKilled()) return "OOMKilled";
  if (!exit.getKnown()) return "Unknown";
  return exit.getCode() == 0 ? "Completed"_kj : "Error"_kj;
}

void readExit(shim::Exit::Reader exit, v1::ContainerStatus& status) {
  status.set_finished_at(exit.getFinishedAtNs());
  status.set_exit_code(exit.getCode());
  status.set_reason(replyText(reasonOf(exit)));
  if (exit.getMessage().size() > 0) {
    status.set_message(replyText(exit.getMessage()));
  } else if (!exit.getKnown()) {
    status.set_message("nobody was left to learn this container's exit code; 255 stands for it");
  }
}

void readUser(shim::ResolvedUser::Reader user, v1::LinuxContainerUser& item) {
  item.set_uid(user.getUid());
  item.set_gid(user.getGid());
  for (auto group : user.getGroups()) {
    item.add_supplemental_groups(group);
  }
}

// The file the log goes to now, else the one it is to go to.
kj::StringPtr logPathOf(supervisor::ContainerRecord::Reader record) {
  auto told = record.getLast().getLogPath();
  return told.size() > 0 ? told : record.getSpec().getLogPath();
}

bool holds(TextsReader list, kj::StringPtr text) {
  for (auto item : list) {
    if (item == text) return true;
  }
  return false;
}

}  // namespace

supervisor::Owned<supervisor::ContainerConfig> containerConfigOf(const v1::ContainerConfig& config,
                                                                 const Field& field) {
  return supervisor::Owned<supervisor::ContainerConfig>::make(
      [&](supervisor::ContainerConfig::Builder builder) {
        fillContainerConfig(builder, config, field);
      });
}

v1::ContainerState stateOf(const supervisor::ContainerView& container) {
  switch (container.state) {
    case State::CREATED:
      return v1::CONTAINER_CREATED;
    case State::RUNNING:
      return v1::CONTAINER_RUNNING;
    case State::EXITED:
      return v1::CONTAINER_EXITED;
    case State::UNKNOWN:
      return v1::CONTAINER_UNKNOWN;
  }
  return v1::CONTAINER_UNKNOWN;
}

void readContainer(const supervisor::ContainerView& container, kj::StringPtr imageName,
                   v1::Container& item) {
  auto record = container.record.get();
  auto config = record.getConfig();
  item.set_id(replyText(record.getId()));
  item.set_pod_sandbox_id(replyText(record.getPodId()));
  item.mutable_metadata()->set_name(replyText(config.getName()));
  item.mutable_metadata()->set_attempt(config.getAttempt());
  readImageSpec(config, imageName, *item.mutable_image());
  item.set_image_ref(imageRefOf(record));
  item.set_image_id(replyText(record.getImageId()));
  item.set_state(stateOf(container));
  item.set_created_at(record.getCreatedAtNs());
  readPairs(config.getLabels(), *item.mutable_labels());
  readPairs(config.getAnnotations(), *item.mutable_annotations());
}

void readContainerStatus(const supervisor::ContainerView& container, kj::StringPtr imageName,
                         v1::ContainerStatus& status) {
  auto record = container.record.get();
  auto config = record.getConfig();
  auto last = record.getLast();
  status.set_id(replyText(record.getId()));
  status.mutable_metadata()->set_name(replyText(config.getName()));
  status.mutable_metadata()->set_attempt(config.getAttempt());
  status.set_state(stateOf(container));
  status.set_created_at(record.getCreatedAtNs());
  status.set_started_at(last.getStartedAtNs());
  if (container.state == State::EXITED) readExit(last.getExit(), status);
  if (container.state == State::UNKNOWN) {
    status.set_reason("Unknown");
    status.set_message("the pod's shim does not answer");
  }
  readImageSpec(config, imageName, *status.mutable_image());
  status.set_image_ref(imageRefOf(record));
  status.set_image_id(replyText(record.getImageId()));
  readPairs(config.getLabels(), *status.mutable_labels());
  readPairs(config.getAnnotations(), *status.mutable_annotations());
  for (auto mount : config.getMounts()) {
    readMount(mount, *status.add_mounts());
  }
  status.set_log_path(replyText(logPathOf(record)));
  readResources(config.getResources(), *status.mutable_resources()->mutable_linux());
  if (last.hasUser()) readUser(last.getUser(), *status.mutable_user()->mutable_linux());
  // SIGTERM is what a container gets when nobody chose.
  auto stopSignal = record.getSpec().getStopSignal();
  status.set_stop_signal(stopSignal == 0 ? v1::SIGNAL_SIGTERM : signalOfNumber(stopSignal));
}

kj::String imageNameOf(const supervisor::ContainerView& container, supervisor::Runtime& runtime) {
  auto record = container.record.get();
  auto config = record.getConfig();
  KJ_IF_MAYBE (image, runtime.image(record.getImageId())) {
    auto tags = image->get().getRepoTags();
    for (auto wish : {config.getImage(), config.getUserSpecifiedImage()}) {
      if (holds(tags, wish)) return kj::str(wish);
    }
    if (tags.size() > 0) return kj::str(tags[0]);
  }
  return kj::str(config.getImage());
}

}  // namespace belay::criapi
