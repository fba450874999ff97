// How exec and attach tell a client how it ended.
#include "criapi/streaming/status.h"

#include <nlohmann/json.hpp>
#include <string>

namespace belay::criapi::streaming {
namespace {

using nlohmann::json;

kj::String toText(const json& status) {
  // The message may quote what a container or a kernel said in any bytes.
  return kj::heapString(status.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
}

}  // namespace

kj::String successStatus() {
  return toText({{"metadata", json::object()}, {"status", "Success"}});
}

kj::String exitStatus(int code) {
  std::string text = std::to_string(code);
  return toText(
      {{"metadata", json::object()},
       {"status", "Failure"},
       {"message", "command terminated with non-zero exit code: exit code " + text},
       {"reason", "NonZeroExitCode"},
       {"details", {{"causes", json::array({{{"reason", "ExitCode"}, {"message", text}}})}}}});
}

kj::String internalErrorStatus(kj::StringPtr message) {
  return toText({{"metadata", json::object()},
                 {"status", "Failure"},
                 {"message", std::string("Internal error occurred: ") + message.cStr()},
                 {"reason", "InternalError"},
                 {"details", {{"causes", json::array({{{"message", message.cStr()}}})}}},
                 {"code", 500}});
}

}  // namespace belay::criapi::streaming
