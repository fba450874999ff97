// See held-descriptors.h.
#include "supervisor/held-descriptors.h"

namespace belay::supervisor {

namespace {

bool isOf(kj::StringPtr name, kj::StringPtr containerId) {
  return name.startsWith(containerId) && name[containerId.size()] == '/';
}

}  // namespace

void HeldDescriptors::keep(kj::StringPtr name, kj::AutoCloseFd fd) {
  held.upsert(kj::str(name), kj::mv(fd),
              [](kj::AutoCloseFd& old, kj::AutoCloseFd&& fresh) { old = kj::mv(fresh); });
}

void HeldDescriptors::release(kj::StringPtr name) {
  held.erase(name);
}

void HeldDescriptors::releaseAllOf(kj::StringPtr containerId) {
  held.eraseAll([&](kj::String& name, kj::AutoCloseFd&) { return isOf(name, containerId); });
}

kj::Maybe<int> HeldDescriptors::find(kj::StringPtr name) const {
  return held.find(name).map([](const kj::AutoCloseFd& fd) { return fd.get(); });
}

kj::Vector<HeldDescriptors::Held> HeldDescriptors::allOf(kj::StringPtr containerId) const {
  kj::Vector<Held> found;
  for (auto& entry : held) {
    if (isOf(entry.key, containerId)) found.add(Held{entry.key, entry.value.get()});
  }
  return found;
}

}  // namespace belay::supervisor
