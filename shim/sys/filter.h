// What a system call filter says of a call, without making it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace belay::sys {

// True if the classic BPF program (struct sock_filter[]) lets this process make the system call
// `number` with these arguments (the rest are 0) at once, logged or not. False for every other
// answer, and for instructions that libseccomp does not make.
bool filterAllows(const void* instructions, size_t bytes, int number, uint64_t first = 0,
                  uint64_t second = 0);

}  // namespace belay::sys
