// Configuration files.
#include "supervisor/config/toml-file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <string.h>
#include <sys/stat.h>
#include <toml++/toml.h>

#include <algorithm>
#include <memory>
#include <string>

#include "snapshot/failure.h"
#include "supervisor/config/settings.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

constexpr size_t MAX_FILE_BYTES = 1 << 20;

kj::String own(std::string_view text) {
  return kj::heapString(text.data(), text.size());
}

// One file on its way into a Config; knows how to say where something is wrong.
class FileReader {
 public:
  FileReader(Config& config, kj::StringPtr source) : config(config), source(source) {}

  void read(kj::StringPtr text) {
    toml::table root = parse(text);
    for (auto&& [key, node] : root) {
      auto name = own(key.str());
      if (auto* table = node.as_table()) {
        if (name == "runtime_handlers") {
          readHandlers(*table);
        } else {
          readSection(name, *table);
        }
      } else {
        readSetting("", name, node);
      }
    }
  }

 private:
  Config& config;
  kj::StringPtr source;

  [[noreturn]] void complain(const toml::source_region& at, kj::String sentence) {
    fail(Code::INVALID_ARGUMENT, source, ":", at.begin.line, ": ", sentence);
  }

  toml::table parse(kj::StringPtr text) {
    try {
      return toml::parse(std::string_view(text.begin(), text.size()));
    } catch (const toml::parse_error& error) {
      complain(error.source(), kj::str("not TOML: ", own(error.description())));
    }
  }

  void readSection(kj::StringPtr section, toml::table& table) {
    for (auto&& [key, node] : table)
      readSetting(section, own(key.str()), node);
    auto settings = allSettings();
    bool known = std::any_of(settings.begin(), settings.end(),
                             [&](auto& setting) { return setting.section == section; });
    if (!known) complain(table.source(), kj::str("there is no section [", section, "]"));
  }

  void readSetting(kj::StringPtr section, kj::StringPtr key, toml::node& node) {
    KJ_IF_MAYBE (setting, findSetting(section, key)) {
      KJ_IF_MAYBE (complaint, apply(config, *setting, valueOf(*setting, node))) {
        complain(node.source(), kj::str(setting->name(), " ", *complaint));
      }
    } else {
      auto where = section.size() == 0 ? kj::str() : kj::str(" in [", section, "]");
      complain(node.source(), kj::str("unknown key \"", key, "\"", where));
    }
  }

  SettingValue valueOf(const Setting& setting, toml::node& node) {
    if (auto text = node.value_exact<std::string>()) return own(*text);
    if (auto number = node.value_exact<int64_t>()) return *number;
    if (auto truth = node.value_exact<bool>()) return *truth;
    if (auto* list = node.as_array()) {
      kj::Vector<kj::String> texts;
      for (auto& entry : *list) {
        auto text = entry.value_exact<std::string>();
        if (!text) complain(entry.source(), kj::str(setting.name(), " holds what is no string"));
        texts.add(own(*text));
      }
      return texts.releaseAsArray();
    }
    complain(node.source(), kj::str(setting.name(), " is of a type that no setting has"));
  }

  void readHandlers(toml::table& handlers) {
    for (auto&& [key, node] : handlers) {
      auto* table = node.as_table();
      auto name = own(key.str());
      if (table == nullptr) {
        complain(node.source(), kj::str("runtime_handlers.", name, " is not a table"));
      }
      putHandler(readHandler(kj::mv(name), *table));
    }
  }

  RuntimeHandler readHandler(kj::String name, toml::table& table) {
    RuntimeHandler handler{.name = kj::mv(name)};
    // Kubernetes takes a handler's name to be a DNS label.
    bool wellFormed = handler.name.size() > 0 && handler.name.size() <= 253;
    for (unsigned char c : handler.name) {
      wellFormed = wellFormed && (isalnum(c) || c == '-' || c == '.' || c == '_');
    }
    if (!wellFormed) {
      complain(table.source(), kj::str("\"", handler.name, "\" is no runtime handler's name"));
    }
    for (auto&& [key, node] : table) {
      auto engine = node.value_exact<std::string>();
      if (key.str() != "engine") {
        complain(node.source(), kj::str("unknown key \"", own(key.str()),
                                        "\" of the runtime handler ", handler.name));
      }
      if (!engine || *engine != "builtin") {
        complain(node.source(), kj::str("runtime_handlers.", handler.name,
                                        ".engine must be \"builtin\", the only one there is"));
      }
      handler.engine = own(*engine);
    }
    return handler;
  }

  void putHandler(RuntimeHandler handler) {
    kj::Vector<RuntimeHandler> all;
    for (auto& other : config.handlers) {
      if (other.name != handler.name) all.add(kj::mv(other));
    }
    all.add(kj::mv(handler));
    config.handlers = all.releaseAsArray();
  }
};

}  // namespace

void applyToml(Config& config, kj::StringPtr text, kj::StringPtr source) {
  FileReader(config, source).read(text);
}

void applyFile(Config& config, kj::StringPtr path, IfAbsent ifAbsent) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT && ifAbsent == IfAbsent::SKIP) return;
    fail(Code::INVALID_ARGUMENT, "cannot open the configuration ", path, ": ", strerror(errno));
  }
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info), path);
  if (!S_ISREG(info.st_mode)) {
    fail(Code::INVALID_ARGUMENT, "the configuration ", path, " is not a regular file");
  }
  if (info.st_size > MAX_FILE_BYTES) {
    fail(Code::INVALID_ARGUMENT, "the configuration ", path, " is larger than 1 MiB");
  }
  auto text = kj::heapArray<char>(info.st_size);
  size_t size = kj::FdInputStream(file.get()).tryRead(text.begin(), text.size(), text.size());
  applyToml(config, kj::heapString(text.begin(), size), path);
}

void applyFolder(Config& config, kj::StringPtr folder) {
  struct CloseDir {
    void operator()(DIR* dir) const { closedir(dir); }
  };
  std::unique_ptr<DIR, CloseDir> entries(opendir(folder.cStr()));
  if (entries == nullptr) {
    if (errno == ENOENT) return;
    fail(Code::INVALID_ARGUMENT, "cannot list the folder ", folder, ": ", strerror(errno));
  }
  kj::Vector<kj::String> names;
  while (auto entry = readdir(entries.get())) {
    kj::StringPtr name = entry->d_name;
    if (name.endsWith(".toml") && !name.startsWith(".")) names.add(kj::str(name));
  }
  std::sort(names.begin(), names.end());
  for (auto& name : names)
    applyFile(config, kj::str(folder, "/", name), IfAbsent::FAIL);
}

}  // namespace belay::supervisor
