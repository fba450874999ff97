// See on-thread.h.
#include "supervisor/on-thread.h"

#include <kj/thread.h>

namespace belay::supervisor {

kj::Promise<void> onThread(kj::Function<void()> work) {
  auto paf = kj::newPromiseAndCrossThreadFulfiller<void>();
  kj::Thread thread([work = kj::mv(work), fulfiller = kj::mv(paf.fulfiller)]() mutable {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { work(); })) {
      fulfiller->reject(kj::mv(*exception));
    } else {
      fulfiller->fulfill();
    }
  });
  thread.detach();
  return kj::mv(paf.promise);
}

}  // namespace belay::supervisor
