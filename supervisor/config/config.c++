// The configuration's defaults and its form as a file.
#include "supervisor/config/config.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include "supervisor/config/settings.h"

namespace belay::supervisor {

kj::StringPtr nameOf(CgroupDriver driver) {
  switch (driver) {
    case CgroupDriver::CGROUPFS:
      return "cgroupfs";
    case CgroupDriver::SYSTEMD:
      return "systemd";
  }
  KJ_UNREACHABLE;
}

kj::StringPtr nameOf(LogLevel level) {
  switch (level) {
    case LogLevel::ERROR:
      return "error";
    case LogLevel::WARNING:
      return "warning";
    case LogLevel::INFO:
      return "info";
    case LogLevel::DEBUG:
      return "debug";
  }
  KJ_UNREACHABLE;
}

kj::StringPtr Config::socketPath() const {
  KJ_REQUIRE(listen.startsWith("unix://"), "the socket's address is not settled yet", listen);
  return listen.slice(strlen("unix://"));
}

kj::Maybe<const RuntimeHandler&> Config::handler(kj::StringPtr name) const {
  if (name.size() == 0) name = defaultHandler;
  for (auto& known : handlers) {
    if (known.name == name) return known;
  }
  return nullptr;
}

Config defaultConfig(kj::StringPtr executableDir) {
  Config config;
  config.shimPath = kj::str(executableDir, "/belay-shim");
  config.pullPath = kj::str(executableDir, "/belay-pull");
  config.sessionPath = kj::str(executableDir, "/belay-session");
  config.cniBinDirs = kj::arr(kj::str("/opt/cni/bin"), kj::str("/usr/lib/cni"));
  kj::Vector<RuntimeHandler> handlers;
  handlers.add(RuntimeHandler{.name = kj::str(config.defaultHandler)});
  config.handlers = handlers.releaseAsArray();
  return config;
}

kj::String dump(const Config& config) {
  kj::Vector<kj::String> lines;
  kj::StringPtr section = "";
  for (auto& setting : allSettings()) {
    if (setting.section != section) {
      section = setting.section;
      lines.add(kj::str("\n[", section, "]"));
    }
    lines.add(kj::str("# ", setting.help));
    lines.add(kj::str(setting.key, " = ", render(config, setting)));
  }
  for (auto& handler : config.handlers) {
    lines.add(kj::str("\n[runtime_handlers.", quoted(handler.name), "]"));
    lines.add(kj::str("engine = ", quoted(handler.engine)));
  }
  return kj::str(kj::strArray(lines, "\n"), "\n");
}

}  // namespace belay::supervisor
