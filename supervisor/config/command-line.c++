// belayd's command line.
#include "supervisor/config/command-line.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cxxopts.hpp>
#include <string>

#include "snapshot/failure.h"
#include "supervisor/config/settings.h"
#include "supervisor/config/toml-file.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

constexpr auto DEFAULT_FILE = "/etc/belay/config.toml"_kj;

kj::String own(const std::string& text) {
  return kj::heapString(text.data(), text.size());
}

cxxopts::Options describeOptions() {
  cxxopts::Options options("belayd", "The Kubernetes container runtime belay: its daemon.");
  options.positional_help("[config dump | config check | upgrade [PROGRAM]]");
  auto add = options.add_options();
  add("config",
      "configuration file; conf.d/*.toml beside it comes after it (/etc/belay/config.toml)",
      cxxopts::value<std::string>(), "FILE");
  for (auto& setting : allSettings()) {
    if (setting.flag.size() == 0) continue;
    add(setting.flag.cStr(), setting.help.cStr(), cxxopts::value<std::vector<std::string>>(),
        "VALUE");
  }
  add("help", "say this and exit");
  add("version", "say the version and exit");
  add("words", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"words"});
  return options;
}

// An absolute path, since it is the running belayd that opens it.
kj::String programOf(const std::string& word) {
  char path[PATH_MAX];
  if (realpath(word.c_str(), path) == nullptr) {
    fail(Code::INVALID_ARGUMENT, "cannot find program ", word.c_str(), ": ", strerror(errno));
  }
  return kj::str(static_cast<const char*>(path));
}

CommandLine::Action actionOf(const cxxopts::ParseResult& parsed, kj::String& text) {
  if (parsed.count("words") == 0) return CommandLine::Action::SERVE;
  auto& words = parsed["words"].as<std::vector<std::string>>();
  if (words[0] == "upgrade" && words.size() <= 2) {
    if (words.size() == 2) text = programOf(words[1]);
    return CommandLine::Action::UPGRADE;
  }
  std::string sentence;
  for (auto& word : words) {
    sentence += (sentence.empty() ? "" : " ") + word;
  }
  if (sentence == "check-handover") return CommandLine::Action::CHECK_HANDOVER;
  if (sentence == "config dump") return CommandLine::Action::CONFIG_DUMP;
  if (sentence == "config check") return CommandLine::Action::CONFIG_CHECK;
  fail(Code::INVALID_ARGUMENT, "belayd has no command \"", own(sentence),
       "\"; there are \"config dump\", \"config check\" and \"upgrade [PROGRAM]\"");
}

void applyFlags(Config& config, const cxxopts::ParseResult& parsed) {
  for (auto& setting : allSettings()) {
    if (setting.flag.size() == 0 || parsed.count(setting.flag.cStr()) == 0) continue;
    kj::Vector<kj::String> texts;
    for (auto& text : parsed[setting.flag.cStr()].as<std::vector<std::string>>()) {
      texts.add(own(text));
    }
    auto complain = [&](kj::StringPtr why) {
      fail(Code::INVALID_ARGUMENT, "--", setting.flag, " ", why);
    };
    auto value = parseFlag(setting, texts);
    if (value.is<kj::String>()) complain(value.get<kj::String>());
    KJ_IF_MAYBE (why, apply(config, setting, kj::mv(value.get<SettingValue>()))) {
      complain(kj::str("\"", kj::strArray(texts, ","), "\" ", *why));
    }
  }
}

kj::String folderOf(kj::StringPtr file) {
  KJ_IF_MAYBE (slash, file.findLast('/')) {
    return *slash == 0 ? kj::str("/") : kj::heapString(file.slice(0, *slash));
  }
  return kj::str(".");
}

void applyFiles(Config& config, const cxxopts::ParseResult& parsed) {
  bool named = parsed.count("config") > 0;
  auto file = named ? own(parsed["config"].as<std::string>()) : kj::str(DEFAULT_FILE);
  applyFile(config, file, named ? IfAbsent::FAIL : IfAbsent::SKIP);
  applyFolder(config, kj::str(folderOf(file), "/conf.d"));
}

void settle(Config& config) {
  if ((config.streamingTlsCert.size() == 0) != (config.streamingTlsKey.size() == 0)) {
    fail(Code::INVALID_ARGUMENT,
         "streaming.tls_cert and streaming.tls_key belong together: set both or neither");
  }
  if (config.listen.size() == 0) config.listen = kj::str("unix://", config.state, "/belay.sock");
  if (config.handler("") == nullptr) {
    fail(Code::INVALID_ARGUMENT, "default_runtime_handler is \"", config.defaultHandler,
         "\", but there is no [runtime_handlers.", config.defaultHandler, "]");
  }
}

}  // namespace

CommandLine parseCommandLine(int argc, const char* const* argv, kj::StringPtr executableDir,
                             kj::StringPtr version) {
  auto options = describeOptions();
  CommandLine result;
  result.config = defaultConfig(executableDir);
  try {
    auto parsed = options.parse(argc, argv);
    if (parsed.count("help") > 0) {
      result.action = CommandLine::Action::PRINT;
      result.text = own(options.help());
      return result;
    }
    if (parsed.count("version") > 0) {
      result.action = CommandLine::Action::PRINT;
      result.text = kj::str("belayd ", version, "\n");
      return result;
    }
    result.action = actionOf(parsed, result.text);
    applyFiles(result.config, parsed);
    applyFlags(result.config, parsed);
  } catch (const cxxopts::exceptions::exception& error) {
    fail(Code::INVALID_ARGUMENT, error.what(), "; belayd --help lists the flags");
  }
  settle(result.config);
  return result;
}

kj::String executableFolder() {
  char path[4096];
  ssize_t size;
  KJ_SYSCALL(size = readlink("/proc/self/exe", path, sizeof(path)));
  KJ_REQUIRE(size < static_cast<ssize_t>(sizeof(path)), "the executable's path is too long");
  return folderOf(kj::heapString(path, size));
}

}  // namespace belay::supervisor
