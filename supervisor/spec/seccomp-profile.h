// A seccomp profile: which system calls a process may make, as libseccomp is told it.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <seccomp.h>

namespace belay::supervisor {

struct SeccompArgument {
  uint32_t index;  // 0 to 5
  scmp_compare compare;
  uint64_t value;     // for SCMP_CMP_MASKED_EQ the mask
  uint64_t valueTwo;  // for SCMP_CMP_MASKED_EQ what must be left
};

// What happens to calls of these names whose arguments match all of `arguments`.
struct SeccompRule {
  kj::Array<kj::String> names;
  uint32_t action;  // SCMP_ACT_*
  kj::Array<SeccompArgument> arguments;
};

struct SeccompProfile {
  uint32_t defaultAction;              // of calls that no rule names
  kj::Vector<uint32_t> architectures;  // SCMP_ARCH_* besides the native one
  kj::Vector<SeccompRule> rules;

  // --- how the compiled program is loaded
  uint32_t flags = 0;           // SECCOMP_FILTER_FLAG_* of linux/seccomp.h
  kj::String listenerPath;      // who is asked about calls with SCMP_ACT_NOTIFY; empty: nobody
  kj::String listenerMetadata;  // passed on to the listener, opaque

  // Everything that the program is made of as text, alike for alike programs: what the compiled
  // form is cached by.
  kj::String canonical() const;
};

// What "RuntimeDefault" means: an allow list of what programs in containers need, answering EPERM
// to all else; wider for those whom `capabilities` (bit n is capability n) trust with more.
SeccompProfile defaultProfile(uint64_t capabilities);

}  // namespace belay::supervisor
