// What the listener of a seccomp filter is told.
#include "supervisor/spec/seccomp-listener.h"

#include <nlohmann/json.hpp>
#include <string>

namespace belay::supervisor {

namespace {

// Of the specification that defines the message.
constexpr auto OCI_VERSION = "1.2.0"_kj;

kj::String quoted(kj::StringPtr text) {
  using Json = nlohmann::json;
  auto json = Json(std::string(text.begin(), text.size()))
                  .dump(-1, ' ', false, Json::error_handler_t::replace);
  return kj::heapString(json.data(), json.size());
}

}  // namespace

void fillSeccompListener(shim::ProcessSpec::Builder process, const SeccompFilter& filter,
                         kj::StringPtr containerId, kj::StringPtr folder) {
  if (filter.listenerPath.size() == 0) return;
  auto listener = process.initSeccompListener();
  listener.setPath(filter.listenerPath);
  auto version = quoted(OCI_VERSION);
  auto metadata = filter.listenerMetadata.size() == 0
                      ? kj::String()
                      : kj::str("\"metadata\":", quoted(filter.listenerMetadata), ",");
  // One descriptor comes along, and this is its name in the specification.
  listener.setBeforePid(kj::str("{\"ociVersion\":", version, ",\"fds\":[\"seccompFd\"],\"pid\":"));
  listener.setBeforeStatus(kj::str(",", metadata, "\"state\":{\"ociVersion\":", version,
                                   ",\"id\":", quoted(containerId), ",\"status\":\""));
  listener.setBeforeFirstPid("\",\"pid\":");
  listener.setEnd(kj::str(",\"bundle\":", quoted(folder), "}}"));
}

}  // namespace belay::supervisor
