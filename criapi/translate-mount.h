// Mounts and devices of a container.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/model.capnp.h"

namespace belay::criapi {

// Refuses combinations that the CRI forbids. Whether the source exists is learned when it is
// opened, by a process that may hang on it.
void fillMount(supervisor::Mount::Builder builder, const runtime::v1::Mount& mount,
               const Field& field);
void readMount(supervisor::Mount::Reader reader, runtime::v1::Mount& mount);

void fillDevice(supervisor::Device::Builder builder, const runtime::v1::Device& device,
                const Field& field);

}  // namespace belay::criapi
