// See on-thread.h.
#include "supervisor/on-thread.h"

#include <kj/thread.h>

#include <atomic>

namespace belay::supervisor {

namespace {

std::atomic<unsigned> running = 0;

}  // namespace

kj::Promise<void> onThread(kj::Function<void()> work) {
  auto paf = kj::newPromiseAndCrossThreadFulfiller<void>();
  ++running;
  kj::Thread thread([work = kj::mv(work), fulfiller = kj::mv(paf.fulfiller)]() mutable {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { work(); })) {
      fulfiller->reject(kj::mv(*exception));
    } else {
      fulfiller->fulfill();
    }
    --running;
  });
  thread.detach();
  return kj::mv(paf.promise);
}

bool doesAnyThreadRun() {
  return running > 0;
}

}  // namespace belay::supervisor
