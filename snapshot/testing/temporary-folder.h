// A fresh folder for a test, removed with everything in it at the end.
#pragma once

#include <kj/string.h>

namespace belay::snapshot {

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(TemporaryFolder);

  kj::StringPtr path() const { return folder; }

 private:
  kj::String folder;
};

}  // namespace belay::snapshot
