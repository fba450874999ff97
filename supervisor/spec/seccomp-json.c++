// Seccomp profiles as Kubernetes keeps them on a node.
#include "supervisor/spec/seccomp-json.h"

#include <ctype.h>
#include <errno.h>
#include <kj/debug.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string>

#include "supervisor/spec/capabilities.h"
#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;

constexpr auto FIELD = "seccomp"_kj;

// A profile has four levels. The kernel takes 4096 instructions: far fewer rules than these.
constexpr int MAX_DEPTH = 16;
constexpr size_t MAX_RULES = 4096;
constexpr size_t MAX_NAMES = 16384;
constexpr size_t MAX_ARGUMENTS = 1024;
constexpr size_t MAX_ARCHITECTURES = 64;
// sockaddr_un, with its end.
constexpr size_t MAX_SOCKET_PATH = 108;
constexpr size_t MAX_METADATA_BYTES = 16 << 10;

kj::String own(const std::string& text) {
  return kj::heapString(text.data(), text.size());
}

// A member that may be absent, or null, which is the same to Go's encoders.
const Json* find(const Json& object, const char* key) {
  auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json* find(const Json& object, const char* key, Json::value_t type) {
  auto* found = find(object, key);
  if (found != nullptr && found->type() != type) {
    refuse(FIELD, "the profile's \"", key, "\" is not of the right type");
  }
  return found;
}

const std::string& text(const Json& object, const char* key) {
  auto* found = find(object, key, Json::value_t::string);
  if (found == nullptr) refuse(FIELD, "the profile's \"", key, "\" is missing");
  return found->get_ref<const std::string&>();
}

// The strings of a list; none if it is absent.
kj::Vector<kj::String> texts(const Json& object, const char* key) {
  kj::Vector<kj::String> result;
  auto* list = find(object, key, Json::value_t::array);
  if (list == nullptr) return result;
  for (auto& entry : *list) {
    if (!entry.is_string()) refuse(FIELD, "an entry of the profile's \"", key, "\" is no string");
    auto& name = entry.get_ref<const std::string&>();
    // libseccomp would see only what is before it.
    requireNoNul(kj::str(FIELD, ".", key), kj::arrayPtr(name.data(), name.size()));
    result.add(own(name));
  }
  return result;
}

uint64_t number(const Json& object, const char* key, uint64_t otherwise) {
  auto* found = find(object, key);
  if (found == nullptr) return otherwise;
  if (!found->is_number_integer()) {
    refuse(FIELD, "the profile's \"", key, "\" is not a whole number");
  }
  // Profiles say 4294967295 and -1 alike; both are the same bits.
  return found->is_number_unsigned() ? found->get<uint64_t>()
                                     : static_cast<uint64_t>(found->get<int64_t>());
}

// The errno that goes with an action: as a number or, as Podman's profiles have it, by name.
uint64_t errnoOf(const Json& object, const char* numberKey, const char* nameKey) {
  if (find(object, numberKey) == nullptr && find(object, nameKey) != nullptr) {
    auto& wanted = text(object, nameKey);
    for (int number = 1; number < 4096; ++number) {
      const char* name = strerrorname_np(number);
      if (name != nullptr && wanted == name) return number;
    }
    refuse(FIELD, "\"", own(wanted), "\" is no errno");
  }
  return number(object, numberKey, EPERM);
}

uint32_t action(const std::string& name, uint64_t errnoValue) {
  if (errnoValue > 4095) refuse(FIELD, "errno ", errnoValue, " is more than 4095");
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(static_cast<uint32_t>(errnoValue));
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(static_cast<uint32_t>(errnoValue));
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_NOTIFY") return SCMP_ACT_NOTIFY;
  refuse(FIELD, "\"", own(name), "\" is no action");
}

scmp_compare comparison(const std::string& name) {
  if (name == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (name == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (name == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (name == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (name == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (name == "SCMP_CMP_GT") return SCMP_CMP_GT;
  if (name == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
  refuse(FIELD, "\"", own(name), "\" is no comparison");
}

// "SCMP_ARCH_X86_64" is "x86_64" to libseccomp. 0 if it does not know it.
uint32_t findArchitecture(kj::StringPtr name) {
  constexpr auto PREFIX = "SCMP_ARCH_"_kj;
  auto known = kj::str(name.startsWith(PREFIX) ? name.slice(PREFIX.size()) : name);
  for (char& c : known)
    c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  return seccomp_arch_resolve_name(known.cStr());
}

void addArchitectures(SeccompProfile& profile, kj::ArrayPtr<const kj::String> names) {
  if (names.size() > MAX_ARCHITECTURES) refuse(FIELD, "too many architectures");
  for (auto& name : names) {
    uint32_t token = findArchitecture(name);
    if (token == 0) refuse(FIELD, "\"", name, "\" is no architecture");
    profile.architectures.add(token);
  }
}

// Docker's form: of a list of architectures with their kin, what belongs to this machine's.
void readArchitectures(SeccompProfile& profile, const Json& root) {
  auto plain = texts(root, "architectures");
  auto* map = find(root, "archMap", Json::value_t::array);
  if (map != nullptr && map->size() > 0 && plain.size() > 0) {
    refuse(FIELD, "the profile has both \"architectures\" and \"archMap\"; only one may be given");
  }
  addArchitectures(profile, plain);
  if (map == nullptr) return;
  if (map->size() > MAX_ARCHITECTURES) refuse(FIELD, "too many architectures");
  for (auto& entry : *map) {
    if (!entry.is_object()) refuse(FIELD, "an entry of \"archMap\" is not an object");
    if (findArchitecture(own(text(entry, "architecture"))) != seccomp_arch_native()) continue;
    addArchitectures(profile, texts(entry, "subArchitectures"));
  }
}

// Those that concern a thread group mean nothing to a process of one thread. What the others mean
// is seccomp(2)'s.
void readFlags(SeccompProfile& profile, const Json& root) {
  for (auto& name : texts(root, "flags")) {
    if (name == "SECCOMP_FILTER_FLAG_TSYNC") {
      continue;
    } else if (name == "SECCOMP_FILTER_FLAG_LOG") {
      profile.flags |= SECCOMP_FILTER_FLAG_LOG;
    } else if (name == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") {
      profile.flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    } else if (name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") {
      profile.flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    } else {
      refuse(FIELD, "\"", name, "\" is no flag of a filter");
    }
  }
}

void readListener(SeccompProfile& profile, const Json& root) {
  if (find(root, "listenerPath") != nullptr) {
    auto path = own(text(root, "listenerPath"));
    if (path.size() > 0) profile.listenerPath = cleanPath("seccomp.listenerPath", path);
    if (profile.listenerPath.size() >= MAX_SOCKET_PATH) {
      refuse(FIELD, "listenerPath is longer than a socket's path may be");
    }
  }
  if (find(root, "listenerMetadata") != nullptr) {
    profile.listenerMetadata = own(text(root, "listenerMetadata"));
  }
  if (profile.listenerMetadata.size() > MAX_METADATA_BYTES) {
    refuse(FIELD, "listenerMetadata is longer than ", MAX_METADATA_BYTES, " bytes");
  }
}

// Without somebody to ask, the calls would only ever fail. write(2) tells of the listener itself,
// and the listener's program cannot have been asked about it before.
void checkNotify(const SeccompProfile& profile) {
  bool notifies = false;
  if (profile.defaultAction == SCMP_ACT_NOTIFY) {
    refuse(FIELD, "SCMP_ACT_NOTIFY cannot be the default action");
  }
  for (auto& rule : profile.rules) {
    if (rule.action != SCMP_ACT_NOTIFY) continue;
    notifies = true;
    for (auto& name : rule.names) {
      if (name == "write") refuse(FIELD, "SCMP_ACT_NOTIFY cannot be used for write");
    }
  }
  if (notifies && profile.listenerPath.size() == 0) {
    refuse(FIELD, "the profile uses SCMP_ACT_NOTIFY, but names no listenerPath");
  }
  if ((profile.flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) != 0 && !notifies) {
    refuse(FIELD, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY");
  }
}

SeccompArgument argument(const Json& json) {
  if (!json.is_object()) refuse(FIELD, "an entry of \"args\" is not an object");
  uint64_t index = number(json, "index", 0);
  if (index > 5) refuse(FIELD, "a system call has no argument ", index);
  return {static_cast<uint32_t>(index), comparison(text(json, "op")), number(json, "value", 0),
          number(json, "valueTwo", 0)};
}

bool has(kj::ArrayPtr<const kj::String> list, kj::StringPtr name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool isKernelAtLeast(const std::string& version, const SeccompCircumstances& here) {
  unsigned major = 0, minor = 0;
  const char* end = version.data() + version.size();
  auto parsed = std::from_chars(version.data(), end, major);
  bool sound = parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '.';
  if (sound) {
    parsed = std::from_chars(parsed.ptr + 1, end, minor);
    sound = parsed.ec == std::errc() && parsed.ptr == end;
  }
  if (!sound) refuse(FIELD, "minKernel \"", own(version), "\" is not like \"4.8\"");
  return here.kernelMajor != major ? here.kernelMajor > major : here.kernelMinor >= minor;
}

uint64_t capability(kj::StringPtr name) {
  KJ_IF_MAYBE (bit, capabilityBit(name)) {
    return *bit;
  }
  // Of a kernel newer than this belay: nobody has it.
  return 0;
}

// "includes": all of what is named must hold.
bool isIncluded(const Json& rule, const SeccompCircumstances& here) {
  auto* includes = find(rule, "includes", Json::value_t::object);
  if (includes == nullptr) return true;
  auto arches = texts(*includes, "arches");
  if (arches.size() > 0 && !has(arches, here.architecture)) return false;
  for (auto& name : texts(*includes, "caps")) {
    if ((here.capabilities & capability(name)) == 0) return false;
  }
  return find(*includes, "minKernel") == nullptr ||
         isKernelAtLeast(text(*includes, "minKernel"), here);
}

// "excludes": any of what is named suffices.
bool isExcluded(const Json& rule, const SeccompCircumstances& here) {
  auto* excludes = find(rule, "excludes", Json::value_t::object);
  if (excludes == nullptr) return false;
  if (has(texts(*excludes, "arches"), here.architecture)) return true;
  for (auto& name : texts(*excludes, "caps")) {
    if ((here.capabilities & capability(name)) != 0) return true;
  }
  return find(*excludes, "minKernel") != nullptr &&
         isKernelAtLeast(text(*excludes, "minKernel"), here);
}

// Old profiles of Docker's have one "name".
kj::Array<kj::String> namesOf(const Json& rule) {
  auto names = texts(rule, "names");
  if (find(rule, "name") != nullptr) {
    if (names.size() > 0) refuse(FIELD, "a rule has both \"name\" and \"names\"");
    auto& name = text(rule, "name");
    requireNoNul(FIELD, kj::arrayPtr(name.data(), name.size()));
    names.add(own(name));
  }
  if (names.size() == 0) refuse(FIELD, "a rule names no system call (key \"names\")");
  return names.releaseAsArray();
}

SeccompRule ruleOf(const Json& json) {
  SeccompRule rule;
  rule.names = namesOf(json);
  rule.action = action(text(json, "action"), errnoOf(json, "errnoRet", "errno"));
  kj::Vector<SeccompArgument> arguments;
  if (auto* args = find(json, "args", Json::value_t::array)) {
    if (args->size() > MAX_ARGUMENTS) refuse(FIELD, "a rule tests more than 1024 arguments");
    for (auto& entry : *args)
      arguments.add(argument(entry));
  }
  rule.arguments = arguments.releaseAsArray();
  return rule;
}

void readRules(SeccompProfile& profile, const Json& root, const SeccompCircumstances& here) {
  auto* list = find(root, "syscalls", Json::value_t::array);
  if (list == nullptr) return;
  if (list->size() > MAX_RULES) refuse(FIELD, "the profile has more than ", MAX_RULES, " rules");
  size_t names = 0, arguments = 0;
  for (auto& entry : *list) {
    if (!entry.is_object()) refuse(FIELD, "an entry of \"syscalls\" is not an object");
    // Read also if it does not count here: what is wrong is wrong on every machine.
    auto rule = ruleOf(entry);
    if (!isIncluded(entry, here) || isExcluded(entry, here)) continue;
    names += rule.names.size();
    arguments += rule.names.size() * rule.arguments.size();
    if (names > MAX_NAMES) refuse(FIELD, "the profile names more than ", MAX_NAMES, " calls");
    if (arguments > MAX_ARGUMENTS) {
      refuse(FIELD, "the profile tests more than ", MAX_ARGUMENTS, " arguments of calls");
    }
    profile.rules.add(kj::mv(rule));
  }
}

// What is nested deeper than any profile is not built up, let alone looked at.
Json parse(kj::StringPtr json) {
  bool tooDeep = false;
  auto root = Json::parse(
      json.begin(), json.end(),
      [&](int depth, Json::parse_event_t, Json&) {
        tooDeep = tooDeep || depth > MAX_DEPTH;
        return !tooDeep;
      },
      false);
  if (tooDeep || root.is_discarded() || !root.is_object()) {
    refuse(FIELD, "the profile is not a JSON object");
  }
  return root;
}

}  // namespace

SeccompCircumstances SeccompCircumstances::here(uint64_t capabilities) {
  SeccompCircumstances here = {capabilities, "", 0, 0};
  utsname names;
  KJ_SYSCALL(uname(&names));
  const char* end = names.release + strlen(names.release);
  auto parsed = std::from_chars(names.release, end, here.kernelMajor);
  if (parsed.ptr != end) std::from_chars(parsed.ptr + 1, end, here.kernelMinor);
  switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
      here.architecture = "amd64";
      break;
    case SCMP_ARCH_AARCH64:
      here.architecture = "arm64";
      break;
    default:
      break;
  }
  return here;
}

SeccompProfile parseSeccompJson(kj::StringPtr json, const SeccompCircumstances& circumstances) {
  auto root = parse(json);
  SeccompProfile profile;
  profile.defaultAction =
      action(text(root, "defaultAction"), errnoOf(root, "defaultErrnoRet", "defaultErrno"));
  readArchitectures(profile, root);
  readFlags(profile, root);
  readListener(profile, root);
  readRules(profile, root, circumstances);
  checkNotify(profile);
  return profile;
}

}  // namespace belay::supervisor
