// See temporary-folder.h.
#include "snapshot/testing/temporary-folder.h"

#include <kj/debug.h>
#include <stdlib.h>

#include <filesystem>

namespace belay::snapshot {

TemporaryFolder::TemporaryFolder() : folder(kj::str("/tmp/belay-test-XXXXXX")) {
  KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() noexcept(false) {
  std::error_code ignored;
  std::filesystem::remove_all(folder.cStr(), ignored);
}

}  // namespace belay::snapshot
