// What a pod asks of its network beyond an address: CNI's capability arguments (CNI conventions,
// "runtimeConfig"), given to those plug-ins that declare the capability.
#pragma once

#include <nlohmann/json.hpp>

#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// By capability: portMappings (host ports alone), dns, bandwidth (of Kubernetes' annotations),
// io.kubernetes.cri.pod-annotations. What the pod does not ask for is absent.
// INVALID_ARGUMENT for ports, addresses and rates that are none.
nlohmann::json capabilityArguments(PodConfig::Reader pod);

// The members of `all` whose capability the plug-in's configuration declares true.
nlohmann::json argumentsFor(const nlohmann::json& plugin, const nlohmann::json& all);

// A Kubernetes quantity ("10M", "1.5Gi", "800k") in whole units; absent when it is none or too
// large.
kj::Maybe<uint64_t> parseQuantity(kj::StringPtr text);

}  // namespace belay::supervisor
