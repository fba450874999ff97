// One call to one container of a shim.
#pragma once

#include "shim/shim.capnp.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

// Asks the shim for the container and makes one call to it, in one round trip.
template <typename Call>
auto callContainer(shim::Shim::Client shim, kj::StringPtr id, Call&& call) {
  auto lookup = shim.containerRequest();
  lookup.setId(id);
  auto found = lookup.send();
  auto result = call(found.getContainer()).dropPipeline();
  return found.then([result = kj::mv(result)](auto found) mutable {
    requireDone(found.getOutcome());
    return kj::mv(result);
  });
}

}  // namespace belay::supervisor
