// Work that blocks in the kernel (fsync and its kind), done on a thread of its own so that the
// event loop goes on.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

namespace belay::supervisor {

// Runs `work` on a new thread; the promise ends as it does. Dropping the promise does not stop it:
// what the work uses must live in the work itself.
kj::Promise<void> onThread(kj::Function<void()> work);

// Whether any such thread has not ended: this process must not fork then.
bool doesAnyThreadRun();

}  // namespace belay::supervisor
