// The pods' networks, by CNI plug-ins.
#include "supervisor/cni/cni.h"

#include <kj/debug.h>
#include <kj/vector.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>

#include "snapshot/failure.h"
#include "supervisor/cni/attachment-marks.h"
#include "supervisor/cni/capability-args.h"
#include "supervisor/cni/host-local-leases.h"
#include "supervisor/cni/network-list.h"
#include "supervisor/cni/plugin.h"
#include "supervisor/cni/result.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;
using snapshot::Code;
using snapshot::fail;

constexpr auto IF_NAME = "eth0"_kj;
constexpr auto CONTAINER_ID = "K8S_POD_INFRA_CONTAINER_ID"_kj;

kj::String own(const std::string& text) {
  return kj::heapString(text.data(), text.size());
}
std::string text(kj::StringPtr from) {
  return std::string(from.begin(), from.size());
}

// Sent as JSON to plug-ins, which want UTF-8; foreign bytes become U+FFFD rather than an exception.
kj::String dump(const Json& json) {
  return own(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

kj::StringPtr argument(NetworkAttachment::Reader attachment, kj::StringPtr key) {
  for (auto pair : attachment.getArguments()) {
    if (pair.getKey() == key) return pair.getValue();
  }
  fail(Code::INTERNAL, "the recorded network attachment has no ", key);
}

// In CNI_ARGS ';' separates, and a value with one could pass for another argument.
void checkArgument(kj::StringPtr key, kj::StringPtr value) {
  for (char c : value) {
    if (c == ';' || c == '\0' || c == '\n') {
      fail(Code::INVALID_ARGUMENT, "metadata: ", key, " \"", value,
           "\" contains ';', a line break or a NUL byte");
    }
  }
}

void fillArguments(NetworkAttachment::Builder attachment, kj::StringPtr podId,
                   PodConfig::Reader pod) {
  struct Argument {
    kj::StringPtr key, value;
  } arguments[] = {
      {"IgnoreUnknown", "1"},          {"K8S_POD_NAMESPACE", pod.getNamespace()},
      {"K8S_POD_NAME", pod.getName()}, {CONTAINER_ID, podId},
      {"K8S_POD_UID", pod.getUid()},
  };
  auto list = attachment.initArguments(kj::size(arguments));
  for (size_t i = 0; i < kj::size(arguments); ++i) {
    checkArgument(arguments[i].key, arguments[i].value);
    list[i].setKey(arguments[i].key);
    list[i].setValue(arguments[i].value);
  }
}

// Some networks map host ports by other means than CNI's, so this is no failure; but if nobody maps
// them, somebody will look for the reason.
void warnOfUnmappedPorts(const NetworkList& list, const Json& capabilities, kj::StringPtr podId) {
  if (!capabilities.contains("portMappings")) return;
  for (auto& plugin : list.plugins) {
    if (argumentsFor(plugin, capabilities).contains("portMappings")) return;
  }
  KJ_LOG(WARNING,
         "the pod wants host ports, but no plug-in of its network declares the capability "
         "portMappings",
         podId, list.name);
}

// Before anything is begun: a plug-in that is missing at ADD is missing at DEL, too, and then what
// the others did could not be undone.
void requirePlugins(const NetworkList& list, kj::ArrayPtr<const kj::String> binDirs) {
  for (auto& type : list.types) {
    if (findPlugin(binDirs, type) != nullptr) continue;
    fail(Code::FAILED_PRECONDITION, "the plug-in ", type, " of the network ", list.name,
         " is in none of ", kj::strArray(binDirs, ", "));
  }
}

// A pin that is no namespace any more (after a reboot, or once it was unmounted) is passed as none,
// which DEL allows.
bool isNamespace(kj::StringPtr path) {
  struct statfs info;
  return statfs(path.cStr(), &info) == 0 && info.f_type == NSFS_MAGIC;
}

// After a power cut. What it did is no failure of the DEL that found the namespace gone.
void freeWhatNoDelCan(const NetworkList& list) {
  int freed = 0;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { freed = freeNamelessLeases(list); })) {
    KJ_LOG(WARNING, "addresses without an owner could not be looked for", list.name,
           exception->getDescription());
  }
  if (freed > 0) KJ_LOG(WARNING, "addresses were taken by nobody and are free", list.name, freed);
}

// belayd's own environment, for PATH and proxies, but not what systemd and CNI callers say in it.
kj::Vector<kj::String> inheritedEnvironment() {
  kj::Vector<kj::String> env;
  for (char** line = environ; *line != nullptr; ++line) {
    kj::StringPtr entry(*line);
    bool foreign = false;
    for (auto prefix : {"CNI_"_kj, "LISTEN_"_kj, "NOTIFY_"_kj, "WATCHDOG_"_kj, "BELAY_"_kj}) {
      foreign = foreign || entry.startsWith(prefix);
    }
    if (!foreign) env.add(kj::str(entry));
  }
  return env;
}

}  // namespace

struct Cni::Impl {
  AttachmentMarks marks;
  CniOptions options;
  snapshot::Children& children;
  kj::Timer& timer;
  kj::Maybe<snapshot::HelperPlace&> place;

  // Position `index` of the list, with what the runtime adds to it.
  Json inputFor(const NetworkList& list, size_t index, const Json& capabilities,
                const Json& previous) {
    Json input = list.plugins[index];
    input["name"] = text(list.name);
    input["cniVersion"] = text(list.version);
    auto runtimeConfig = argumentsFor(input, capabilities);
    if (!runtimeConfig.empty()) input["runtimeConfig"] = std::move(runtimeConfig);
    if (!previous.is_null()) input["prevResult"] = previous;
    return input;
  }

  kj::Vector<kj::String> environmentOf(kj::StringPtr command) {
    auto env = inheritedEnvironment();
    env.add(kj::str("CNI_COMMAND=", command));
    env.add(kj::str("CNI_PATH=", kj::strArray(options.binDirs, ":")));
    return env;
  }

  kj::Array<kj::String> environmentOf(kj::StringPtr command, NetworkAttachment::Reader attachment) {
    auto env = environmentOf(command);
    kj::StringPtr netns = attachment.getNetnsPath();
    auto arguments = KJ_MAP(pair, attachment.getArguments()) {
      return kj::str(pair.getKey(), "=", pair.getValue());
    };
    env.add(kj::str("CNI_CONTAINERID=", argument(attachment, CONTAINER_ID)));
    env.add(kj::str("CNI_NETNS=", command == "DEL" && !isNamespace(netns) ? ""_kj : netns));
    env.add(kj::str("CNI_IFNAME=", attachment.getIfName()));
    env.add(kj::str("CNI_ARGS=", kj::strArray(arguments, ";")));
    return env.releaseAsArray();
  }

  kj::Promise<kj::String> run(kj::StringPtr type, kj::StringPtr command, Json input,
                              kj::Array<kj::String> env) {
    KJ_IF_MAYBE (home, place) co_await home->whenFree();
    KJ_IF_MAYBE (path, findPlugin(options.binDirs, type)) {
      co_return co_await runPlugin(children, timer, options.pluginTimeout,
                                   PluginCall{kj::mv(*path), kj::str(type), kj::str(command),
                                              dump(input), kj::mv(env), place});
    }
    fail(Code::FAILED_PRECONDITION, "CNI ", command, ": the plug-in ", type, " is in none of ",
         kj::strArray(options.binDirs, ", "));
  }
};

Cni::Cni(CniOptions options, snapshot::Children& children, kj::Timer& timer,
         kj::Maybe<snapshot::HelperPlace&> place)
    : impl(kj::heap<Impl>(
          Impl{AttachmentMarks(options.marks), kj::mv(options), children, timer, place})) {}

Cni::~Cni() noexcept(false) = default;

kj::Promise<NetworkReadiness> Cni::status() {
  kj::Maybe<kj::Exception> problem;
  kj::StringPtr reason = "NoNetworkConfig";
  kj::String network;
  try {
    auto list = loadNetworkList(impl->options.confDir);
    network = kj::str(list.name);
    reason = "NetworkPluginMissing";
    requirePlugins(list, impl->options.binDirs);
    reason = "NetworkPluginNotReady";
    for (size_t i = 0; list.versionAtLeast(1, 1) && i < list.types.size(); ++i) {
      co_await impl->run(list.types[i], "STATUS", impl->inputFor(list, i, Json(), Json()),
                         impl->environmentOf("STATUS").releaseAsArray());
    }
  } catch (...) {
    problem = kj::getCaughtExceptionAsKj();
  }
  KJ_IF_MAYBE (exception, problem) {
    co_return NetworkReadiness{false, kj::str(reason), kj::str(snapshot::messageOf(*exception)),
                               kj::mv(network)};
  }
  co_return NetworkReadiness{true, nullptr, nullptr, kj::mv(network)};
}

Owned<NetworkAttachment> Cni::prepare(kj::StringPtr podId, PodConfig::Reader pod,
                                      kj::StringPtr netnsPath) {
  auto list = loadNetworkList(impl->options.confDir);
  requirePlugins(list, impl->options.binDirs);
  auto capabilities = capabilityArguments(pod);
  warnOfUnmappedPorts(list, capabilities, podId);
  return Owned<NetworkAttachment>::make([&](NetworkAttachment::Builder attachment) {
    attachment.setConflist(list.text);
    attachment.setNetnsPath(netnsPath);
    fillArguments(attachment, podId, pod);
    attachment.setCapabilities(dump(capabilities));
    attachment.setIfName(IF_NAME);
    attachment.setAdded(true);
  });
}

kj::Promise<Owned<NetworkAttachment>> Cni::add(Owned<NetworkAttachment> attachment) {
  auto record = attachment.get();
  auto list = parseNetworkList(record.getConflist());
  auto capabilities = Json::parse(text(record.getCapabilities()));
  impl->marks.add(argument(record, CONTAINER_ID));

  Json result;
  for (size_t i = 0; i < list.types.size(); ++i) {
    auto printed =
        co_await impl->run(list.types[i], "ADD", impl->inputFor(list, i, capabilities, result),
                           impl->environmentOf("ADD", record));
    result = Json::parse(printed.begin(), printed.end(), nullptr, false);
    if (!result.is_object()) {
      fail(Code::INTERNAL, "CNI ADD by the plug-in ", list.types[i],
           " succeeded, but printed no result");
    }
  }

  auto ips = addressesOf(result, record.getIfName());
  if (ips.size() == 0) {
    fail(Code::INTERNAL, "CNI ADD: the network ", list.name, " gave the pod no address on ",
         record.getIfName());
  }
  co_return attachment.with([&](NetworkAttachment::Builder changed) {
    changed.setResult(dump(result));
    auto to = changed.initIps(ips.size());
    for (size_t i = 0; i < ips.size(); ++i)
      to.set(i, ips[i]);
  });
}

kj::Promise<void> Cni::del(Owned<NetworkAttachment> attachment) {
  auto record = attachment.get();
  if (!record.getAdded()) co_return;
  auto list = parseNetworkList(record.getConflist());
  auto capabilities = Json::parse(text(record.getCapabilities()));
  Json previous;
  if (record.getResult().size() > 0 && list.versionAtLeast(0, 4)) {
    previous = Json::parse(text(record.getResult()));
  }

  kj::Vector<kj::Exception> failures;
  for (size_t i = list.types.size(); i-- > 0;) {
    try {
      co_await impl->run(list.types[i], "DEL", impl->inputFor(list, i, capabilities, previous),
                         impl->environmentOf("DEL", record));
    } catch (...) {
      failures.add(kj::getCaughtExceptionAsKj());
    }
  }
  if (failures.empty()) {
    if (!isNamespace(record.getNetnsPath())) freeWhatNoDelCan(list);
    impl->marks.remove(argument(record, CONTAINER_ID));
    co_return;
  }
  auto sentences = KJ_MAP(failure, failures) {
    return kj::str(snapshot::messageOf(failure));
  };
  fail(snapshot::codeOf(failures[0]), kj::strArray(sentences, "; "));
}

kj::Array<kj::String> Cni::attached() {
  return impl->marks.list();
}

kj::Promise<void> Cni::release(kj::StringPtr podId) {
  auto list = loadNetworkList(impl->options.confDir);
  return del(Owned<NetworkAttachment>::make([&](NetworkAttachment::Builder attachment) {
    attachment.setConflist(list.text);
    auto arguments = attachment.initArguments(2);
    arguments[0].setKey("IgnoreUnknown");
    arguments[0].setValue("1");
    arguments[1].setKey(CONTAINER_ID);
    arguments[1].setValue(podId);
    attachment.setCapabilities("{}");
    attachment.setIfName(IF_NAME);
    attachment.setAdded(true);
  }));
}

kj::Promise<void> Cni::check(Owned<NetworkAttachment> attachment) {
  auto record = attachment.get();
  auto list = parseNetworkList(record.getConflist());
  if (list.disableCheck || !list.versionAtLeast(0, 4)) co_return;
  if (record.getResult().size() == 0) {
    fail(Code::FAILED_PRECONDITION, "CNI CHECK: the network was never attached");
  }
  auto capabilities = Json::parse(text(record.getCapabilities()));
  auto previous = Json::parse(text(record.getResult()));
  for (size_t i = 0; i < list.types.size(); ++i) {
    co_await impl->run(list.types[i], "CHECK", impl->inputFor(list, i, capabilities, previous),
                       impl->environmentOf("CHECK", record));
  }
}

}  // namespace belay::supervisor
