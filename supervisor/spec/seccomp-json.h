// Seccomp profiles as Kubernetes keeps them on a node, chosen by the profile type Localhost: JSON
// of the OCI runtime specification's linux.seccomp with Docker's additions (archMap, and rules that
// count only under conditions).
#pragma once

#include "supervisor/spec/seccomp-profile.h"

namespace belay::supervisor {

// What the conditions of rules ("includes", "excludes") are compared with.
struct SeccompCircumstances {
  uint64_t capabilities;              // the container's bounding set; bit n is capability n
  kj::StringPtr architecture;         // as Go names it: "amd64"
  unsigned kernelMajor, kernelMinor;  // of the running kernel

  // This machine, and a container with these capabilities.
  static SeccompCircumstances here(uint64_t capabilities);
};

// Rules whose conditions do not hold are left out; names that no architecture knows are kept, for
// they mean nothing to the compiler. INVALID_ARGUMENT for what is no profile, naming the key.
// Depth, number and size of everything are bounded: the work is small whatever the text is.
SeccompProfile parseSeccompJson(kj::StringPtr json, const SeccompCircumstances& circumstances);

}  // namespace belay::supervisor
