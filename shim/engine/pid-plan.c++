// Which pid namespace a container's processes are in.
#include "shim/engine/pid-plan.h"

namespace belay::shim {
namespace {

FailureValue missing(kj::StringPtr reason) {
  return plainFailure(Failure::Code::FAILED_PRECONDITION, "share a pid namespace", "", reason);
}

}  // namespace

kj::OneOf<PidPlan, FailureValue> planPids(NamespaceMode mode, const SharedPids& shared) {
  using Kind = PidPlan::Kind;
  // Without a default, so that the compiler asks for a new mode's case.
  switch (mode) {
    case NamespaceMode::CONTAINER:
      return PidPlan{Kind::OWN};
    case NamespaceMode::POD:
      if (shared.podUsesHosts) return PidPlan{Kind::HOST};
      if (shared.podNamespace < 0) {
        return missing("the pod was made without one that its containers could share");
      }
      return PidPlan{Kind::POD, shared.podNamespace};
    case NamespaceMode::TARGET:
      if (shared.targetPidfd < 0) return missing("the target container does not run");
      return PidPlan{Kind::TARGET, shared.targetPidfd};
    case NamespaceMode::NODE:
      return PidPlan{Kind::HOST};
  }
  // A later supervisor's.
  return plainFailure(Failure::Code::INVALID_ARGUMENT, "share a pid namespace", "",
                      kj::str("this shim does not know the mode ", static_cast<int>(mode)));
}

}  // namespace belay::shim
