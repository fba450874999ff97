// What CNI plug-ins print: results and errors (CNI specification 1.1.0, section 5).
#pragma once

#include <kj/array.h>
#include <kj/exception.h>
#include <kj/string.h>

#include <nlohmann/json.hpp>

#include "snapshot/sys/child.h"

namespace belay::supervisor {

// The pod's addresses, without prefix lengths, in the plug-ins' order: those of the interface
// `ifName` inside the pod, and those that name no interface. Formats of 0.1.0 to 1.1.0. Throws
// INTERNAL for an address that is none; a result without addresses gives none.
kj::Array<kj::String> addressesOf(const nlohmann::json& result, kj::StringPtr ifName);

// A plug-in's failure as it told it: its code, msg and details when its output holds them, else
// what it wrote. The sentence begins with `what`. UNAVAILABLE for "try again later" (11) and for a
// network that is down (50, 51), FAILED_PRECONDITION for a bad configuration (1, 7), else INTERNAL.
kj::Exception pluginFailure(kj::StringPtr what, const snapshot::ExitStatus& status,
                            kj::StringPtr output, kj::StringPtr errors);

}  // namespace belay::supervisor
