// What a system call filter says of a call.
#include "shim/sys/filter.h"

#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstring>

namespace belay::sys {
namespace {

#if defined(__x86_64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_AARCH64;
#else
#error "which AUDIT_ARCH_* is this?"
#endif

bool jumps(uint16_t operation, uint32_t left, uint32_t right) {
  switch (operation) {
    case BPF_JEQ:
      return left == right;
    case BPF_JGT:
      return left > right;
    case BPF_JGE:
      return left >= right;
    default:
      return (left & right) != 0;
  }
}

bool lets(uint32_t answer) {
  uint32_t action = answer & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

}  // namespace

bool filterAllows(const void* instructions, size_t bytes, int number, uint64_t first,
                  uint64_t second) {
  struct seccomp_data data = {};
  data.nr = number;
  data.arch = ARCHITECTURE;
  data.args[0] = first;
  data.args[1] = second;

  size_t count = bytes / sizeof(sock_filter);
  uint32_t accumulator = 0;
  // Jumps only lead on.
  for (size_t at = 0; at < count; ++at) {
    sock_filter step;
    memcpy(&step, static_cast<const char*>(instructions) + at * sizeof(step), sizeof(step));
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (step.k > sizeof(data) - sizeof(accumulator)) return false;
        memcpy(&accumulator, reinterpret_cast<const char*>(&data) + step.k, sizeof(accumulator));
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= step.k;
        break;
      case BPF_JMP | BPF_JA:
        at += step.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
      case BPF_JMP | BPF_JGT | BPF_K:
      case BPF_JMP | BPF_JGE | BPF_K:
      case BPF_JMP | BPF_JSET | BPF_K:
        at += jumps(BPF_OP(step.code), accumulator, step.k) ? step.jt : step.jf;
        break;
      case BPF_RET | BPF_K:
        return lets(step.k);
      default:
        return false;
    }
  }
  return false;
}

}  // namespace belay::sys
