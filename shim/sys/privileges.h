// What a process may do: capability sets and system call filters, by raw system calls on this one
// thread. Every function returns 0, or -1 with errno, and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace belay::sys {

// Sets the thread's capabilities; bit n is capability n. capset(2).
int setCapabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);

// Takes away every capability that is not in `keep` from the bounding set. Needs CAP_SETPCAP.
// capabilities(7).
int limitBoundingSet(uint64_t keep);

// Makes the ambient set exactly `ambient`; each must be permitted and inheritable.
int setAmbient(uint64_t ambient);

// The thread's own permitted set. capget(2).
int permittedCapabilities(uint64_t& permitted);

// Loads a classic BPF program (struct sock_filter[]) as this thread's filter, for good. `flags` are
// SECCOMP_FILTER_FLAG_* of linux/seccomp.h; with NEW_LISTENER (Linux 5.0) the answer is the
// listener's descriptor, close-on-exec. Needs no_new_privs or CAP_SYS_ADMIN. seccomp(2). EINVAL if
// `bytes` is no whole number of instructions.
int loadFilter(const void* instructions, size_t bytes, unsigned flags);

}  // namespace belay::sys
