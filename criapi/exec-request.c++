// See exec-request.h.
#include "criapi/exec-request.h"

namespace belay::criapi {

kj::Array<kj::String> commandOf(const StringList& command) {
  const Field field("cmd");
  if (command.empty()) field.refuse("must not be empty");
  auto words = kj::heapArrayBuilder<kj::String>(command.size());
  for (int i = 0; i < command.size(); ++i)
    words.add(kj::str(requestText(command.Get(i), field.at(i))));
  return words.finish();
}

supervisor::ContainerView requireRunning(supervisor::Runtime& runtime, kj::StringPtr id) {
  using State = supervisor::ContainerView::State;
  auto container = runtime.container(id);
  auto fullId = container.record.get().getId();
  if (container.state == State::UNKNOWN) {
    snapshot::fail(snapshot::Code::UNAVAILABLE, "the shim of container ", fullId,
                   " is dead or does not answer");
  }
  if (container.state != State::RUNNING) {
    snapshot::fail(snapshot::Code::FAILED_PRECONDITION, "container ", fullId, " is not running");
  }
  return container;
}

}  // namespace belay::criapi
