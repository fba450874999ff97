// Security contexts of pods and containers: namespaces, users, capabilities, profiles.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/model.capnp.h"

namespace belay::criapi {

// Absent options are the CRI's defaults: everything POD, the host's user namespace. Refuses modes
// that a namespace cannot have, and user namespace mappings that no pod could run with.
void fillPodNamespaces(supervisor::NamespaceOptions::Builder builder,
                       const runtime::v1::NamespaceOption& options, const Field& field);
void fillContainerNamespaces(supervisor::NamespaceOptions::Builder builder,
                             const runtime::v1::NamespaceOption& options, const Field& field);
void readNamespaces(supervisor::NamespaceOptions::Reader reader,
                    runtime::v1::NamespaceOption& options);

void fillIdMappings(capnp::List<supervisor::IdMapping>::Builder list,
                    const google::protobuf::RepeatedPtrField<runtime::v1::IDMapping>& mappings);
void readIdMappings(capnp::List<supervisor::IdMapping>::Reader list,
                    google::protobuf::RepeatedPtrField<runtime::v1::IDMapping>& mappings);

void fillPodSecurity(supervisor::SecurityContext::Builder builder,
                     const runtime::v1::LinuxSandboxSecurityContext& context, const Field& field);
void fillContainerSecurity(supervisor::SecurityContext::Builder builder,
                           const runtime::v1::LinuxContainerSecurityContext& context,
                           const Field& field);

}  // namespace belay::criapi
