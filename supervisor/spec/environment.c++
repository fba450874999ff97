// The environment of a container's processes.
#include "supervisor/spec/environment.h"

#include <kj/map.h>
#include <kj/vector.h>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

constexpr kj::StringPtr DEFAULT_PATH =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"_kj;

class Environment {
 public:
  void set(kj::ArrayPtr<const char> name, kj::ArrayPtr<const char> value) {
    auto key = kj::heapString(name);
    auto line = kj::str(name, "=", value);
    KJ_IF_MAYBE (index, places.find(kj::StringPtr(key))) {
      lines[*index] = kj::mv(line);
    } else {
      places.insert(kj::mv(key), lines.size());
      lines.add(kj::mv(line));
    }
  }

  kj::Array<kj::String> release() { return lines.releaseAsArray(); }

 private:
  kj::Vector<kj::String> lines;
  kj::HashMap<kj::String, size_t> places;
};

}  // namespace

kj::Array<kj::String> mergeEnvironment(ContainerConfig::Reader config,
                                       snapshot::ImageConfig::Reader image,
                                       kj::StringPtr hostname) {
  Environment environment;
  environment.set("PATH"_kj, DEFAULT_PATH);
  if (config.getTty()) environment.set("TERM"_kj, "xterm"_kj);

  for (kj::StringPtr line : image.getEnv()) {
    requireNoNul("the image's environment", line);
    // Old images hold names without a value; peers drop them, for execve(2) says nothing of them.
    KJ_IF_MAYBE (equals, line.findFirst('=')) {
      if (*equals > 0) environment.set(line.slice(0, *equals), line.slice(*equals + 1));
    }
  }
  if (hostname.size() > 0) environment.set("HOSTNAME"_kj, hostname);

  auto envs = config.getEnvs();
  for (kj::uint i = 0; i < envs.size(); ++i) {
    kj::StringPtr name = envs[i].getKey();
    auto value = envs[i].getValue().asChars();
    auto field = kj::str("envs[", i, "]");
    if (name.size() == 0) refuse(field, "the name is empty");
    if (name.findFirst('=') != nullptr) refuse(field, "the name \"", name, "\" contains '='");
    requireNoNul(field, name);
    requireNoNul(field, value);
    environment.set(name, value);
  }
  return environment.release();
}

}  // namespace belay::supervisor
