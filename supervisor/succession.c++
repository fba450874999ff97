// See succession.h.
#include "supervisor/succession.h"

#include <kj/debug.h>
#include <signal.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/attempt.h"
#include "supervisor/log.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

constexpr uint MAX_ATTEMPTS = 5;
constexpr kj::Duration FIRST_PAUSE = 100 * kj::MILLISECONDS;
constexpr kj::Duration SLOWEST_PAUSE = 5 * kj::SECONDS;

// A shim adopts a pod in milliseconds; one whose log disk hangs has to open its logs first.
constexpr kj::Duration ADOPT_LIMIT = 20 * kj::SECONDS;

// From a shim's hanging up to its exit.
constexpr kj::Duration EXIT_LIMIT = 5 * kj::SECONDS;

// What belay-shim exits with when the pod has a shim that lives (shim/main.c++).
constexpr int EXIT_NOT_ALONE = 75;

}  // namespace

kj::Promise<void> Succession::run(Pod& pod) {
  uint attempts = 0;
  for (auto pause = FIRST_PAUSE;; pause = kj::min(pause * 2, SLOWEST_PAUSE)) {
    bool alone = true;
    auto failure =
        co_await attempt(startAndAdopt(pod).then([&alone](bool wasAlone) { alone = wasAlone; }));
    if (failure == nullptr && alone) co_return;
    KJ_IF_MAYBE (reason, failure) {
      bool final = snapshot::codeOf(*reason) == Code::FAILED_PRECONDITION;
      if (final || ++attempts == MAX_ATTEMPTS || parts.inventory.isGone(pod)) {
        KJ_ASSERT_NONNULL(pod.shim()).giveUp();
        kj::throwFatalException(kj::mv(*reason));
      }
      log(LogLevel::WARNING, "a pod's next shim does not take over, trying another one", "pod",
          pod.id(), "reason", snapshot::messageOf(*reason));
    } else {
      log(LogLevel::ERROR, "a pod's shim was killed and hangs in the kernel; nobody takes over yet",
          "pod", pod.id());
    }
    co_await parts.timer.afterDelay(pause);
  }
}

// False when the dead shim's process is not gone yet.
kj::Promise<bool> Succession::startAndAdopt(Pod& pod) {
  kj::AutoCloseFd folder;
  KJ_IF_MAYBE (found, parts.folders.open(pod.id())) {
    folder = kj::mv(*found);
  } else {
    fail(Code::FAILED_PRECONDITION, "the pod's folder is gone");
  }
  auto started = parts.launcher.start(pod.id(), parts.folders.pathOf(pod.id()), folder);
  bool done = false;
  KJ_DEFER(if (!done) started.child->signal(SIGKILL));
  CO_FAILPOINT(parts.timer, "belayd.succession/after-start");
  KJ_IF_MAYBE (failure, co_await attempt(adopt(pod, started))) {
    if (!isLostShim(*failure)) kj::throwFatalException(kj::mv(*failure));
  } else {
    CO_FAILPOINT(parts.timer, "belayd.succession/after-adoption");
    done = true;
    co_return true;
  }
  // It has hung up: how it ended says why.
  auto status =
      co_await orLate(parts.timer, EXIT_LIMIT, "the end of the next shim", started.child->wait());
  if (status.signal == 0 && status.exitCode == EXIT_NOT_ALONE) co_return false;
  fail(Code::INTERNAL, "belay-shim ended right after its start with ", status.describe(), ": ",
       shimLogTail(folder));
}

kj::Promise<void> Succession::adopt(Pod& pod, ShimLauncher::Started& started) {
  auto containers = KJ_MAP(container, parts.inventory.containersOf(pod)) {
    return kj::str(container->id());
  };
  auto& connection = KJ_ASSERT_NONNULL(pod.shim());
  auto adopting = connection.adopt(kj::mv(started.socket), kj::mv(started.pidfd),
                                   kj::mv(containers), pod.orphanExits());
  co_await orLate(parts.timer, ADOPT_LIMIT, "the next shim's adoption of the pod",
                  kj::mv(adopting));
}

}  // namespace belay::supervisor
