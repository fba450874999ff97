// Implementation of exec-cgroup.h.
#include "shim/exec-cgroup.h"

namespace belay::shim {

kj::Promise<void> removeWhenEmpty(ShimContext& context, kj::Own<Cgroup> cgroup) {
  co_await cgroup->whenEmpty(context.engine);
  cgroup->remove();
}

ExecCgroup::ExecCgroup(ShimContext& context, kj::Own<Cgroup> cgroup, kj::TaskSet& tasks)
    : context(context), cgroup(kj::mv(cgroup)), tasks(tasks) {}

ExecCgroup::~ExecCgroup() noexcept(false) {
  if (!released) cgroup->kill();
  tasks.add(removeWhenEmpty(context, kj::mv(cgroup)));
}

}  // namespace belay::shim
