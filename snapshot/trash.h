// Deletes trees later: what is thrown away is out of sight at once by a rename, and a helper
// process deletes it while the event loop goes on.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/string.h>

#include "snapshot/helpers.h"

namespace belay::snapshot {

class Trash : private kj::TaskSet::ErrorHandler {
 public:
  // `folder` is the trash folder itself; it must be on the file system of all that is thrown into
  // it. What a former life left there is deleted too.
  Trash(Helpers& helpers, kj::AutoCloseFd folder);
  KJ_DISALLOW_COPY_AND_MOVE(Trash);

  // Moves `parent`/`name` here. False when there is no such entry.
  bool take(int parent, kj::StringPtr name);

  // Resolves when all that was taken so far is deleted; throws if some of it cannot be.
  kj::Promise<void> whenEmpty();

 private:
  Helpers& helpers;
  kj::AutoCloseFd folder;
  uint64_t taken = 0;    // counts take()s
  bool running = false;  // empty() is at work
  uint64_t counter = 0;  // makes names
  kj::Maybe<kj::ForkedPromise<void>> emptying;
  kj::TaskSet tasks;

  void startEmptying();
  kj::Promise<void> empty();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::snapshot
