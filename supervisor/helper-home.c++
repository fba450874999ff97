// See helper-home.h.
#include "supervisor/helper-home.h"

#include <kj/debug.h>

namespace belay::supervisor {

HelperHome::HelperHome(Cgroups& cgroups, kj::String path, kj::Timer& timer)
    : cgroups(cgroups), path(kj::mv(path)), timer(timer) {
  for (auto& name : cgroups.childrenOf(this->path))
    former.add(kj::str(this->path, "/", name));
}

kj::Promise<void> HelperHome::whenFree() {
  if (former.size() == 0) return kj::READY_NOW;
  if (sweeping == nullptr || failed) {
    failed = false;
    sweeping = sweep()
                   .catch_([this](kj::Exception&& exception) {
                     failed = true;
                     kj::throwFatalException(kj::mv(exception));
                   })
                   .fork();
  }
  return KJ_ASSERT_NONNULL(sweeping).addBranch();
}

kj::Promise<void> HelperHome::sweep() {
  while (former.size() > 0) {
    co_await cgroups.destroy(kj::str(former.back()), timer);
    former.removeLast();
  }
}

void HelperHome::open() {
  for (uint number = 0; own == nullptr; ++number) {
    auto name = kj::str(path, "/", number);
    if (!cgroups.exists(name)) own = cgroups.makeMark(name);
  }
}

void HelperHome::receive(snapshot::Command& command) {
  auto& mark = KJ_REQUIRE_NONNULL(own, "helpers are started before they have a home");
  if (mark.tasks.get() >= 0) command.cgroupTasks.add(mark.tasks);
  if (mark.folder.get() >= 0) command.cgroupFolder = mark.folder.get();
}

}  // namespace belay::supervisor
