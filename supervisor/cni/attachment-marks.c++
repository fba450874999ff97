// See attachment-marks.h.
#include "supervisor/cni/attachment-marks.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include "snapshot/sys/file.h"

namespace belay::supervisor {

AttachmentMarks::AttachmentMarks(kj::StringPtr path)
    : folder(snapshot::makeFolder(AT_FDCWD, path, 0700)) {}

void AttachmentMarks::add(kj::StringPtr podId) {
  snapshot::openAt(folder, podId, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
}

void AttachmentMarks::remove(kj::StringPtr podId) {
  KJ_SYSCALL_HANDLE_ERRORS(unlinkat(folder, podId.cStr(), 0)) {
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("unlinkat", error, podId);
  }
}

kj::Array<kj::String> AttachmentMarks::list() {
  return snapshot::namesIn(folder).releaseAsArray();
}

}  // namespace belay::supervisor
