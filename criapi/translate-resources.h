// Resource limits of pods and containers.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::criapi {

void fillResources(supervisor::LinuxResources::Builder builder,
                   const runtime::v1::LinuxContainerResources& resources, const Field& field);
supervisor::Owned<supervisor::LinuxResources> resourcesOf(
    const runtime::v1::LinuxContainerResources& resources, const Field& field);
void readResources(supervisor::LinuxResources::Reader reader,
                   runtime::v1::LinuxContainerResources& resources);

}  // namespace belay::criapi
