// How exec and attach tell a client how it ended: the metav1.Status of Kubernetes as JSON, on the
// error stream (v4.channel.k8s.io and later).
#pragma once

#include <kj/string.h>

namespace belay::criapi::streaming {

kj::String successStatus();

// `code` as the client takes it: 0 to 255. Not for 0.
kj::String exitStatus(int code);

// Anything else, with a sentence for a person.
kj::String internalErrorStatus(kj::StringPtr message);

}  // namespace belay::criapi::streaming
