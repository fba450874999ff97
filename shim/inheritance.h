// What a shim gets of the one that ran its pod before: descriptors by the names that they have
// among Shim.descriptors (shim.capnp).
#pragma once

#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>

namespace belay::shim {

class Inheritance {
 public:
  // In place of an earlier one of that name.
  void add(kj::StringPtr name, kj::AutoCloseFd fd) {
    descriptors.upsert(kj::str(name), kj::mv(fd),
                       [](kj::AutoCloseFd& old, kj::AutoCloseFd&& fresh) { old = kj::mv(fresh); });
  }

  // Of a container, "stdout" for example; null if nobody had one.
  kj::AutoCloseFd take(kj::StringPtr containerId, kj::StringPtr name) {
    auto key = kj::str(containerId, '/', name);
    kj::AutoCloseFd result;
    KJ_IF_MAYBE (found, descriptors.find(key)) result = kj::mv(*found);
    descriptors.erase(key);
    return result;
  }

 private:
  kj::HashMap<kj::String, kj::AutoCloseFd> descriptors;
};

}  // namespace belay::shim
