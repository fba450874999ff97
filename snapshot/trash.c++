// See trash.h.
#include "snapshot/trash.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>

#include "snapshot/sys/file.h"

namespace belay::snapshot {

Trash::Trash(Helpers& helpers, kj::AutoCloseFd folderParam)
    : helpers(helpers), folder(kj::mv(folderParam)), tasks(*this) {
  if (!namesIn(folder).empty()) {
    ++taken;
    startEmptying();
  }
}

bool Trash::take(int parent, kj::StringPtr name) {
  for (;;) {
    auto here = kj::str(counter++);
    KJ_SYSCALL_HANDLE_ERRORS(
        renameat2(parent, name.cStr(), folder, here.cStr(), RENAME_NOREPLACE)) {
      case EEXIST:
        // A leftover of a former life has this number.
        continue;
      case ENOENT:
        return false;
      default:
        KJ_FAIL_SYSCALL("renameat2", error, name);
    }
    break;
  }
  ++taken;
  if (!running) startEmptying();
  return true;
}

kj::Promise<void> Trash::whenEmpty() {
  KJ_IF_MAYBE (promise, emptying) {
    return promise->addBranch();
  }
  return kj::READY_NOW;
}

void Trash::startEmptying() {
  running = true;
  auto forked = empty().fork();
  tasks.add(forked.addBranch());
  emptying = kj::mv(forked);
}

kj::Promise<void> Trash::empty() {
  KJ_DEFER(running = false);
  for (uint64_t emptied = 0; emptied < taken;) {
    // What comes while the helper runs needs another round: it may have passed that place.
    uint64_t upTo = taken;
    co_await helpers.removeContents(folder);
    emptied = upTo;
  }
}

void Trash::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "the trash could not be emptied; it is tried again with the next removal",
         exception);
}

}  // namespace belay::snapshot
