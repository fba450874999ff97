// Containers: a ContainerConfig as the supervisor keeps it, and a kept container as the CRI reports
// it.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// Refuses (INVALID_ARGUMENT) what no container can be made of, naming field and reason.
supervisor::Owned<supervisor::ContainerConfig> containerConfigOf(
    const runtime::v1::ContainerConfig& config, const Field& field);

runtime::v1::ContainerState stateOf(const supervisor::ContainerView& container);

// As an item of a list. `imageName` is what imageNameOf() gave.
void readContainer(const supervisor::ContainerView& container, kj::StringPtr imageName,
                   runtime::v1::Container& item);

// As a status of its own.
void readContainerStatus(const supervisor::ContainerView& container, kj::StringPtr imageName,
                         runtime::v1::ContainerStatus& status);

// What to call a container's image: the name it was asked for by if that is one of its tags, else a
// tag of it, else what was asked for (an id, when the kubelet asks; users want to read names).
kj::String imageNameOf(const supervisor::ContainerView& container, supervisor::Runtime& runtime);

}  // namespace belay::criapi
