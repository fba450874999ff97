// The one table of all settings.
#include "supervisor/config/settings.h"

#include <ctype.h>
#include <kj/debug.h>
#include <kj/vector.h>

#include "supervisor/config/ip-endpoint.h"

namespace belay::supervisor {

namespace {

const Setting SETTINGS[] = {
    {"", "root", "root", "folder of what survives a reboot: database, images", Rule::PATH,
     &Config::root},
    {"", "state", "state", "folder of what does not: pods, sockets", Rule::PATH, &Config::state},
    {"", "listen", "listen", "the CRI socket, unix://PATH (STATE/belay.sock)", Rule::LISTEN,
     &Config::listen},
    {"", "log_level", "log-level", "error, warning, info or debug", Rule::NONE, &Config::logLevel},
    {"", "cgroup_root", "cgroup-root", "cgroup of shims and default parent of pods", Rule::NAME,
     &Config::cgroupRoot},
    {"", "cgroup_driver", "cgroup-driver", "who makes pods' cgroups: cgroupfs (belay) or systemd",
     Rule::NONE, &Config::cgroupDriver},
    {"", "shim_path", "shim", "the belay-shim to start (beside belayd)", Rule::PATH,
     &Config::shimPath},
    {"", "pull_path", "pull", "the belay-pull to start (beside belayd)", Rule::PATH,
     &Config::pullPath},
    {"", "session_path", "session", "the belay-session to start (beside belayd)", Rule::PATH,
     &Config::sessionPath},
    {"", "default_runtime_handler", "", "handler of pods that name none", Rule::NAME,
     &Config::defaultHandler},

    {"cni", "conf_dir", "cni-conf-dir", "folder of CNI network configurations", Rule::PATH,
     &Config::cniConfDir},
    {"cni", "bin_dirs", "cni-bin-dir", "folders of CNI plug-ins, in order; repeatable", Rule::PATH,
     &Config::cniBinDirs},
    {"cni", "plugin_timeout_seconds", "", "how long one plug-in may take", Rule::POSITIVE,
     &Config::cniPluginTimeout},

    {"registry", "config_dir", "registry-config", "folder of REGISTRY/hosts.toml", Rule::PATH,
     &Config::registryConfig},
    {"registry", "max_concurrent_downloads", "", "blobs of one pull at a time", Rule::POSITIVE,
     &Config::maxConcurrentDownloads},
    {"registry", "stall_timeout_seconds", "", "a pull without a byte for so long fails",
     Rule::POSITIVE, &Config::pullStallTimeout},

    {"streaming", "address", "", "IP:PORT for exec, attach, port-forward; port 0 is any free one",
     Rule::ADDRESS, &Config::streamingAddress},
    {"streaming", "tls_cert", "", "PEM file of its certificate chain; with tls_key: https",
     Rule::OPTIONAL_PATH, &Config::streamingTlsCert},
    {"streaming", "tls_key", "", "PEM file of its key; both are read anew for each connection",
     Rule::OPTIONAL_PATH, &Config::streamingTlsKey},
    {"streaming", "idle_timeout_seconds", "", "a session without a byte for so long is ended",
     Rule::POSITIVE, &Config::streamingIdleTimeout},
    {"streaming", "max_sessions", "", "connections at a time; more must wait", Rule::POSITIVE,
     &Config::streamingMaxSessions},

    {"containers", "restrict_oom_score_adj", "", "never below belayd's own OOM score", Rule::NONE,
     &Config::restrictOomScoreAdj},
    {"containers", "max_log_line_bytes", "", "longer log lines are split", Rule::POSITIVE,
     &Config::maxLogLineBytes},
    {"containers", "shm_bytes", "", "size of a pod's /dev/shm", Rule::POSITIVE, &Config::shmBytes},
    {"containers", "seccomp_by_default", "", "filter containers that ask for no seccomp profile",
     Rule::NONE, &Config::seccompByDefault},
    {"containers", "unprivileged_ports", "", "ports below 1024 for everybody in a pod", Rule::NONE,
     &Config::unprivilegedPorts},
    {"containers", "unprivileged_icmp", "", "ping without NET_RAW in a pod", Rule::NONE,
     &Config::unprivilegedIcmp},
};

kj::Maybe<kj::String> checkPath(kj::String& path) {
  while (path.size() > 1 && path.endsWith("/"))
    path = kj::heapString(path.slice(0, path.size() - 1));
  if (!path.startsWith("/") || path == "/") return kj::str("is not an absolute path below \"/\"");
  auto padded = kj::str(path, "/");
  for (auto forbidden : {"//"_kj, "/./"_kj, "/../"_kj}) {
    if (strstr(padded.cStr(), forbidden.cStr()) != nullptr) {
      return kj::str("contains \"", forbidden, "\"");
    }
  }
  for (unsigned char c : path) {
    // ':' separates the folders of CNI_PATH.
    if (c < ' ' || c == 0x7f || c == ':') return kj::str("contains a colon or control character");
  }
  return nullptr;
}

kj::Maybe<kj::String> checkListen(kj::String& listen) {
  constexpr auto SCHEME = "unix://"_kj;
  if (!listen.startsWith(SCHEME)) return kj::str("does not begin with unix://");
  auto path = kj::str(listen.slice(SCHEME.size()));
  KJ_IF_MAYBE (complaint, checkPath(path)) {
    return kj::mv(*complaint);
  }
  listen = kj::str(SCHEME, path);
  return nullptr;
}

kj::Maybe<kj::String> checkName(kj::StringPtr name) {
  auto wrong = [] { return kj::str("is not made of letters, digits, '.', '-' and '_'"); };
  auto padded = kj::str("/", name, "/");
  if (strstr(padded.cStr(), "//") || strstr(padded.cStr(), "/./") ||
      strstr(padded.cStr(), "/../")) {
    return wrong();
  }
  for (unsigned char c : name) {
    if (!isalnum(c) && c != '.' && c != '-' && c != '_' && c != '/') return wrong();
  }
  return nullptr;
}

kj::Maybe<kj::String> check(Rule rule, kj::String& text) {
  switch (rule) {
    case Rule::PATH:
      return checkPath(text);
    case Rule::OPTIONAL_PATH:
      if (text.size() == 0) return nullptr;
      return checkPath(text);
    case Rule::ADDRESS:
      if (IpEndpoint::tryParse(text) == nullptr) {
        return kj::str("is not an IP address and a port, such as 127.0.0.1:0 or [::1]:10010");
      }
      return nullptr;
    case Rule::LISTEN:
      return checkListen(text);
    case Rule::NAME:
      return checkName(text);
    case Rule::NONE:
    case Rule::POSITIVE:
      return nullptr;
  }
  KJ_UNREACHABLE;
}

constexpr LogLevel LEVELS[] = {LogLevel::ERROR, LogLevel::WARNING, LogLevel::INFO, LogLevel::DEBUG};
constexpr CgroupDriver DRIVERS[] = {CgroupDriver::CGROUPFS, CgroupDriver::SYSTEMD};

// Puts one value in by its member's type; an overload for each.
struct Put {
  Config& config;
  Rule rule;
  SettingValue& value;

  using Complaint = kj::Maybe<kj::String>;

  Complaint operator()(kj::String Config::* member) const {
    if (!value.is<kj::String>()) return kj::str("is not a string");
    KJ_IF_MAYBE (complaint, check(rule, value.get<kj::String>())) {
      return kj::mv(*complaint);
    }
    config.*member = kj::mv(value.get<kj::String>());
    return nullptr;
  }

  Complaint operator()(kj::Array<kj::String> Config::* member) const {
    if (!value.is<kj::Array<kj::String>>()) return kj::str("is not a list of strings");
    auto& texts = value.get<kj::Array<kj::String>>();
    if (texts.size() == 0) return kj::str("is empty");
    for (auto& text : texts) {
      KJ_IF_MAYBE (complaint, check(rule, text)) {
        return kj::mv(*complaint);
      }
    }
    config.*member = kj::mv(texts);
    return nullptr;
  }

  Complaint operator()(bool Config::* member) const {
    if (!value.is<bool>()) return kj::str("is neither true nor false");
    config.*member = value.get<bool>();
    return nullptr;
  }

  Complaint operator()(uint32_t Config::* member) const {
    return number(kj::maxValue, [&](int64_t n) { config.*member = static_cast<uint32_t>(n); });
  }
  Complaint operator()(uint64_t Config::* member) const {
    return number(kj::maxValue, [&](int64_t n) { config.*member = static_cast<uint64_t>(n); });
  }
  Complaint operator()(kj::Duration Config::* member) const {
    constexpr uint32_t DAY = 86400;
    return number(DAY, [&](int64_t n) { config.*member = n * kj::SECONDS; });
  }

  Complaint operator()(LogLevel Config::* member) const { return oneOf(member, LEVELS); }
  Complaint operator()(CgroupDriver Config::* member) const { return oneOf(member, DRIVERS); }

  template <typename Choice, size_t count>
  Complaint oneOf(Choice Config::* member, const Choice (&choices)[count]) const {
    if (value.is<kj::String>()) {
      for (auto choice : choices) {
        if (nameOf(choice) != value.get<kj::String>()) continue;
        config.*member = choice;
        return nullptr;
      }
    }
    auto names = KJ_MAP(choice, choices) {
      return nameOf(choice);
    };
    return kj::str("is none of ", kj::strArray(names, ", "));
  }

  template <typename Store>
  Complaint number(uint32_t most, Store&& store) const {
    if (!value.is<int64_t>()) return kj::str("is not a whole number");
    int64_t least = rule == Rule::POSITIVE ? 1 : 0;
    if (value.get<int64_t>() < least || value.get<int64_t>() > most) {
      return kj::str("is not between ", least, " and ", most);
    }
    store(value.get<int64_t>());
    return nullptr;
  }
};

struct Render {
  const Config& config;

  kj::String operator()(kj::String Config::* member) const { return quoted(config.*member); }
  kj::String operator()(kj::Array<kj::String> Config::* member) const {
    auto texts = KJ_MAP(text, config.*member) {
      return quoted(text);
    };
    return kj::str("[", kj::strArray(texts, ", "), "]");
  }
  kj::String operator()(bool Config::* member) const { return kj::str(config.*member); }
  kj::String operator()(uint32_t Config::* member) const { return kj::str(config.*member); }
  kj::String operator()(uint64_t Config::* member) const { return kj::str(config.*member); }
  kj::String operator()(kj::Duration Config::* member) const {
    return kj::str(config.*member / kj::SECONDS);
  }
  kj::String operator()(LogLevel Config::* member) const { return quoted(nameOf(config.*member)); }
  kj::String operator()(CgroupDriver Config::* member) const {
    return quoted(nameOf(config.*member));
  }
};

}  // namespace

kj::String Setting::name() const {
  return section.size() == 0 ? kj::str(key) : kj::str(section, ".", key);
}

kj::ArrayPtr<const Setting> allSettings() {
  return SETTINGS;
}

kj::Maybe<const Setting&> findSetting(kj::StringPtr section, kj::StringPtr key) {
  for (auto& setting : SETTINGS) {
    if (setting.section == section && setting.key == key) return setting;
  }
  return nullptr;
}

kj::Maybe<kj::String> apply(Config& config, const Setting& setting, SettingValue value) {
  return std::visit(Put{config, setting.rule, value}, setting.member);
}

kj::OneOf<SettingValue, kj::String> parseFlag(const Setting& setting,
                                              kj::ArrayPtr<const kj::String> texts) {
  if (std::holds_alternative<kj::Array<kj::String> Config::*>(setting.member)) {
    return SettingValue(KJ_MAP(text, texts) { return kj::str(text); });
  }
  if (texts.size() != 1) return kj::str("is given more than once");
  // Only strings and lists have flags; numbers and switches stand in files.
  return SettingValue(kj::str(texts[0]));
}

kj::String render(const Config& config, const Setting& setting) {
  return std::visit(Render{config}, setting.member);
}

kj::String quoted(kj::StringPtr text) {
  kj::Vector<char> out;
  out.add('"');
  for (char c : text) {
    if (c == '"' || c == '\\') out.add('\\');
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) {
      auto escape = kj::str("\\u00", kj::hex(static_cast<kj::byte>(c)));
      // kj::hex() leaves out a leading zero.
      if (escape.size() < 6) escape = kj::str("\\u000", kj::hex(static_cast<kj::byte>(c)));
      out.addAll(escape);
    } else {
      out.add(c);
    }
  }
  out.add('"');
  return kj::heapString(out);
}

}  // namespace belay::supervisor
