// Failures of belayd's as its clients on the admin socket get them.
#pragma once

#include "snapshot/failure.h"

namespace belay::supervisor {

// "remote exception: NOT_FOUND: sentence" is the way a failure comes over RPC. Valid as long as the
// exception is.
inline kj::StringPtr sentenceOf(const kj::Exception& failure) {
  kj::StringPtr text = snapshot::messageOf(failure);
  constexpr kj::StringPtr REMOTE = "remote exception: "_kj;
  return text.startsWith(REMOTE) ? text.slice(REMOTE.size()) : text;
}

}  // namespace belay::supervisor
