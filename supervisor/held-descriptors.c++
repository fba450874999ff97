// See held-descriptors.h.
#include "supervisor/held-descriptors.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/service-manager.h"

namespace belay::supervisor {

namespace {

// Two descriptors of one open file description. False when the kernel does not tell.
bool isSameFile(int a, int b) {
  pid_t self = getpid();
  return syscall(SYS_kcmp, self, self, KCMP_FILE, a, b) == 0;
}

bool isOf(kj::StringPtr name, kj::StringPtr containerId) {
  return name.startsWith(containerId) && name[containerId.size()] == '/';
}

}  // namespace

void HeldDescriptors::keep(kj::StringPtr name, kj::AutoCloseFd fd) {
  KJ_IF_MAYBE (old, held.find(name)) {
    if (isSameFile(*old, fd)) return;
    removeStoredDescriptor(name);
  }
  storeDescriptor(name, fd);
  takeBack(name, kj::mv(fd));
}

void HeldDescriptors::takeBack(kj::StringPtr name, kj::AutoCloseFd fd) {
  held.upsert(kj::str(name), kj::mv(fd),
              [](kj::AutoCloseFd& old, kj::AutoCloseFd&& fresh) { old = kj::mv(fresh); });
}

void HeldDescriptors::release(kj::StringPtr name) {
  if (held.erase(name)) removeStoredDescriptor(name);
}

void HeldDescriptors::releaseAllOf(kj::StringPtr containerId) {
  releaseIf([&](kj::StringPtr name) { return isOf(name, containerId); });
}

void HeldDescriptors::releaseStrangers(kj::FunctionParam<bool(kj::StringPtr)> isKnown) {
  releaseIf([&](kj::StringPtr name) {
    return !isKnown(kj::heapString(name.slice(0, name.findFirst('/').orDefault(name.size()))));
  });
}

template <typename Condition>
void HeldDescriptors::releaseIf(Condition&& condition) {
  held.eraseAll([&](kj::String& name, kj::AutoCloseFd&) {
    bool go = condition(kj::StringPtr(name));
    if (go) removeStoredDescriptor(name);
    return go;
  });
}

kj::Maybe<int> HeldDescriptors::find(kj::StringPtr name) const {
  return held.find(name).map([](const kj::AutoCloseFd& fd) { return fd.get(); });
}

kj::Vector<HeldDescriptors::Held> HeldDescriptors::allOf(kj::StringPtr containerId) const {
  kj::Vector<Held> found;
  for (auto& one : all()) {
    if (isOf(one.name, containerId)) found.add(one);
  }
  return found;
}

kj::Vector<HeldDescriptors::Held> HeldDescriptors::all() const {
  kj::Vector<Held> found(held.size());
  for (auto& entry : held)
    found.add(Held{entry.key, entry.value.get()});
  return found;
}

}  // namespace belay::supervisor
