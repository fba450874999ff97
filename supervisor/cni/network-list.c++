// CNI network configuration lists.
#include "supervisor/cni/network-list.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;
using snapshot::Code;

constexpr size_t MAX_FILE_BYTES = 1 << 20;
constexpr size_t MAX_PLUGINS = 64;

template <typename... Parts>
[[noreturn]] void fail(Parts&&... parts) {
  snapshot::fail(Code::FAILED_PRECONDITION, kj::fwd<Parts>(parts)...);
}

kj::String own(const std::string& text) {
  return kj::heapString(text.data(), text.size());
}

struct Version {
  int major = 0, minor = 0, patch = 0;

  auto operator<=>(const Version&) const = default;
};

constexpr Version NEWEST{1, 1, 0};

kj::Maybe<Version> parseVersion(const std::string& text) {
  Version version;
  int end = 0;
  int fields =
      sscanf(text.c_str(), "%4d.%4d.%4d%n", &version.major, &version.minor, &version.patch, &end);
  if (fields != 3 || static_cast<size_t>(end) != text.size()) return nullptr;
  return version;
}

std::string stringOf(const Json& object, const char* key, const char* otherwise) {
  auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_string()) fail("\"", key, "\" is not a string");
  return found->get<std::string>();
}

bool truthOf(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end()) return false;
  if (!found->is_boolean()) fail("\"", key, "\" is neither true nor false");
  return found->get<bool>();
}

// cniVersions lists alternatives to cniVersion; the newest that is known is spoken.
kj::String chooseVersion(const Json& list) {
  // A list without a version is from before versions were written (specification 0.1.0).
  kj::Vector<std::string> offered;
  offered.add(stringOf(list, "cniVersion", "0.1.0"));
  if (auto more = list.find("cniVersions"); more != list.end() && more->is_array()) {
    for (auto& entry : *more) {
      if (entry.is_string()) offered.add(entry.get<std::string>());
    }
  }
  kj::Maybe<Version> best;
  for (auto& text : offered) {
    KJ_IF_MAYBE (version, parseVersion(text)) {
      if (*version > NEWEST) continue;
      KJ_IF_MAYBE (other, best) {
        if (*version <= *other) continue;
      }
      best = *version;
    }
  }
  KJ_IF_MAYBE (version, best) {
    return kj::str(version->major, ".", version->minor, ".", version->patch);
  }
  fail("cniVersion \"", own(offered[0]), "\" is none that belay knows, up to 1.1.0");
}

// CNI's rule for names, which end up in files' and interfaces' names.
void checkName(const std::string& name) {
  bool wellFormed = !name.empty() && name.size() <= 255 && isalnum((unsigned char)name[0]);
  for (unsigned char c : name) {
    wellFormed = wellFormed && (isalnum(c) || c == '_' || c == '.' || c == '-');
  }
  if (!wellFormed) fail("the network's name \"", own(name), "\" is missing or not a CNI name");
}

// The type is the name of the plug-in's file, and nothing else.
kj::String typeOf(const Json& plugin) {
  if (!plugin.is_object()) fail("a plug-in is not an object");
  auto type = stringOf(plugin, "type", "");
  bool plain = !type.empty() && type != "." && type != ".." && type.size() <= 255 &&
               type.find('/') == std::string::npos && type.find('\0') == std::string::npos;
  if (!plain) fail("a plug-in's type \"", own(type), "\" is not a plain file name");
  return own(type);
}

Json parseObject(kj::StringPtr text) {
  auto json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() || !json.is_object()) fail("it is not a JSON object");
  return json;
}

// A single configuration says at its top what a list says at its own.
Json asList(Json json) {
  if (json.contains("plugins")) return json;
  Json list = {{"name", stringOf(json, "name", "")}, {"plugins", Json::array({json})}};
  for (auto key : {"cniVersion", "cniVersions"}) {
    if (json.contains(key)) list[key] = json[key];
  }
  return list;
}

NetworkList interpret(Json list) {
  NetworkList result;
  auto name = stringOf(list, "name", "");
  checkName(name);
  result.name = own(name);
  result.version = chooseVersion(list);
  result.disableCheck = truthOf(list, "disableCheck");
  auto& plugins = list["plugins"];
  if (!plugins.is_array() || plugins.empty())
    fail("\"plugins\" is not a list with a plug-in in it");
  if (plugins.size() > MAX_PLUGINS) fail("it names more than ", MAX_PLUGINS, " plug-ins");
  kj::Vector<kj::String> types;
  for (auto& plugin : plugins)
    types.add(typeOf(plugin));
  result.types = types.releaseAsArray();
  result.plugins = plugins;
  result.text = own(list.dump(-1, ' ', false, Json::error_handler_t::replace));
  return result;
}

kj::String readFile(kj::StringPtr path) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail("cannot be opened: ", strerror(errno));
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info), path);
  if (!S_ISREG(info.st_mode)) fail("is not a regular file");
  if (info.st_size > MAX_FILE_BYTES) fail("is larger than 1 MiB");
  auto text = kj::heapArray<char>(info.st_size);
  size_t size = kj::FdInputStream(file.get()).tryRead(text.begin(), text.size(), text.size());
  return kj::heapString(text.begin(), size);
}

enum class Missing { FAIL, EMPTY };

kj::Vector<kj::String> filesOf(kj::StringPtr folder, kj::ArrayPtr<const kj::StringPtr> endings,
                               Missing missing) {
  struct CloseDir {
    void operator()(DIR* dir) const { closedir(dir); }
  };
  kj::Vector<kj::String> names;
  std::unique_ptr<DIR, CloseDir> entries(opendir(folder.cStr()));
  if (entries == nullptr) {
    if (missing == Missing::EMPTY) return names;
    fail("no network configuration: the folder ", folder, " cannot be listed: ", strerror(errno));
  }
  while (auto entry = readdir(entries.get())) {
    kj::StringPtr name = entry->d_name;
    for (auto ending : endings) {
      if (name.endsWith(ending)) names.add(kj::str(name));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void appendFromFolder(Json& list, kj::StringPtr folder) {
  static constexpr kj::StringPtr ENDINGS[] = {".conf"_kj};
  for (auto& name : filesOf(folder, ENDINGS, Missing::EMPTY)) {
    list["plugins"].push_back(parseObject(readFile(kj::str(folder, "/", name))));
  }
}

NetworkList loadFile(kj::StringPtr folder, kj::StringPtr name) {
  auto list = asList(parseObject(readFile(kj::str(folder, "/", name))));
  bool mayHaveMore = list["plugins"].is_array() && !truthOf(list, "loadOnlyInlinedPlugins");
  if (name.endsWith(".conflist") && mayHaveMore) {
    auto network = stringOf(list, "name", "");
    checkName(network);
    appendFromFolder(list, kj::str(folder, "/", own(network)));
  }
  return interpret(kj::mv(list));
}

}  // namespace

bool NetworkList::versionAtLeast(int major, int minor) const {
  auto own = KJ_ASSERT_NONNULL(parseVersion(std::string(version.cStr())));
  return own >= Version{major, minor, 0};
}

NetworkList parseNetworkList(kj::StringPtr text) {
  return interpret(asList(parseObject(text)));
}

NetworkList loadNetworkList(kj::StringPtr folder) {
  static constexpr kj::StringPtr ENDINGS[] = {".conflist"_kj, ".conf"_kj, ".json"_kj};
  auto names = filesOf(folder, ENDINGS, Missing::FAIL);
  if (names.empty()) {
    fail("no network configuration: the folder ", folder,
         " holds no file that ends in .conflist, .conf or .json");
  }
  try {
    return loadFile(folder, names[0]);
  } catch (const kj::Exception& exception) {
    kj::throwFatalException(
        snapshot::prefixed(exception, kj::str("network configuration ", folder, "/", names[0])));
  }
}

}  // namespace belay::supervisor
