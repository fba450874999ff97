// One call to one container of a shim.
#pragma once

#include "shim/shim.capnp.h"
#include "supervisor/shim-failure.h"
#include "supervisor/with-shim.h"

namespace belay::supervisor {

// Asks the shim for the container and makes one call to it, in one round trip. `call` takes a
// shim::Container::Client and gives what send() of a request gives.
template <typename Call>
auto callContainerOnce(shim::Shim::Client shim, kj::StringPtr id, Call&& call) {
  auto lookup = shim.containerRequest();
  lookup.setId(id);
  auto found = lookup.send();
  auto result = call(found.getContainer()).dropPipeline();
  return found.then([result = kj::mv(result)](auto found) mutable {
    requireDone(found.getOutcome());
    return kj::mv(result);
  });
}

// The same for a call that may be repeated: with the pod's next shim, should one be lost. `id`
// outlives the promise.
template <typename Call>
auto callContainer(kj::Timer& timer, Pod& pod, kj::StringPtr id, Call call) {
  return withShim(timer, pod, [id, call = kj::mv(call)](shim::Shim::Client shim) mutable {
    return callContainerOnce(kj::mv(shim), id, call);
  });
}

}  // namespace belay::supervisor
