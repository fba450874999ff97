// See boot.h.
#include "snapshot/sys/boot.h"

#include <fcntl.h>
#include <kj/debug.h>

#include "snapshot/sys/file.h"

namespace belay::snapshot {

namespace {

constexpr size_t MAX_BOOT_ID_BYTES = 64;

}  // namespace

kj::String bootId() {
  auto text = KJ_REQUIRE_NONNULL(
      tryReadFile(AT_FDCWD, "/proc/sys/kernel/random/boot_id", MAX_BOOT_ID_BYTES),
      "is /proc mounted?");
  size_t end = text.findFirst('\n').orDefault(text.size());
  return kj::heapString(text.slice(0, end));
}

}  // namespace belay::snapshot
