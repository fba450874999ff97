// Pods: a PodSandboxConfig as the supervisor keeps it, and a kept pod as the CRI reports it.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// Refuses (INVALID_ARGUMENT) what no pod can be made of, naming field and reason: names that are
// missing, numbers outside their range, contradictions. What depends on the node (handlers, CNI,
// kernel features) is the supervisor's to judge.
supervisor::Owned<supervisor::PodConfig> podConfigOf(const runtime::v1::PodSandboxConfig& config,
                                                     const Field& field);

runtime::v1::PodSandboxState stateOf(const supervisor::PodView& pod);

// As an item of a list.
void readPod(const supervisor::PodView& pod, runtime::v1::PodSandbox& item);

// As a status of its own.
void readPodStatus(const supervisor::PodView& pod, runtime::v1::PodSandboxStatus& status);

}  // namespace belay::criapi
