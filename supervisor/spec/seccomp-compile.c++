// From a seccomp profile to classic BPF, by libseccomp.
#include "supervisor/spec/seccomp-compile.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

constexpr auto FIELD = "seccomp"_kj;
// x32 calls carry this bit in their number (asm/unistd.h).
constexpr uint32_t X32_BIT = 0x40000000;

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

// libseccomp answers with negative errno values.
void check(int result, kj::StringPtr step, kj::StringPtr object) {
  if (result < 0) {
    refuse(FIELD, "libseccomp cannot ", step, " ", object, ": ", strerror(-result));
  }
}

Context newContext(const SeccompProfile& profile) {
  Context context(seccomp_init(profile.defaultAction));
  if (context == nullptr) refuse(FIELD, "libseccomp does not know the default action");
  for (auto architecture : profile.architectures) {
    int result = seccomp_arch_add(context.get(), architecture);
    if (result != -EEXIST) check(result, "add the architecture", kj::str(kj::hex(architecture)));
  }
  // No new privileges is the shim's to set, or not.
  check(seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_NNP, 0), "set", "NNP");
  // A binary tree over the numbers: the cost of a call no longer depends on its place in a list.
  check(seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "set", "OPTIMIZE");
  return context;
}

// One rule may test each argument once; OCI profiles that test one twice mean "any of these".
bool testsAnArgumentTwice(kj::ArrayPtr<const SeccompArgument> arguments) {
  std::set<uint32_t> seen;
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](auto& argument) { return !seen.insert(argument.index).second; });
}

void addRule(scmp_filter_ctx context, uint32_t action, int number, kj::StringPtr name,
             kj::ArrayPtr<const SeccompArgument> arguments) {
  auto compares = KJ_MAP(argument, arguments) {
    return scmp_arg_cmp{argument.index, argument.compare, argument.value, argument.valueTwo};
  };
  int result = seccomp_rule_add_array(context, action, number, compares.size(), compares.begin());
  // -EEXIST: an equal rule is there already.
  if (result != -EEXIST) check(result, "add a rule for", name);
}

void addRules(scmp_filter_ctx context, const SeccompProfile& profile) {
  for (auto& rule : profile.rules) {
    // Says nothing new, and libseccomp refuses it.
    if (rule.action == profile.defaultAction) continue;
    bool alternatives = testsAnArgumentTwice(rule.arguments);
    for (auto& name : rule.names) {
      int number = seccomp_syscall_resolve_name(name.cStr());
      if (number == __NR_SCMP_ERROR) continue;
      if (alternatives) {
        for (auto& argument : rule.arguments) {
          addRule(context, rule.action, number, name, kj::arrayPtr(&argument, 1));
        }
      } else {
        addRule(context, rule.action, number, name, rule.arguments);
      }
    }
  }
}

kj::Array<kj::byte> exportProgram(scmp_filter_ctx context) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("belay-seccomp", MFD_CLOEXEC));
  kj::AutoCloseFd file(fd);
  check(seccomp_export_bpf(context, file), "export", "the program");
  struct stat info;
  KJ_SYSCALL(fstat(file, &info));
  auto program = kj::heapArray<kj::byte>(info.st_size);
  KJ_SYSCALL(lseek(file, 0, SEEK_SET));
  kj::FdInputStream(file.get()).read(program.begin(), program.size());
  return program;
}

// Numbers only grow, and architectures with the same audit architecture share them.
uint32_t newestKnown(uint32_t architecture) {
  uint32_t newest = 0;
  for (int number = 0; number < 1024; ++number) {
    char* name = seccomp_syscall_resolve_num_arch(architecture, number);
    if (name != nullptr) newest = number;
    free(name);
  }
  return newest;
}

// Goes before the program: relative jumps inside it stay as they are.
void addUnknownCallsPart(kj::Vector<sock_filter>& program, uint32_t auditArchitecture,
                         uint32_t newest) {
  constexpr uint32_t ARCH = offsetof(seccomp_data, arch), NUMBER = offsetof(seccomp_data, nr);
  program.add(sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARCH));
  program.add(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, auditArchitecture, 0, 4));
  program.add(sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER));
  program.add(sock_filter BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0));
  program.add(sock_filter BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1));
  program.add(sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

kj::Vector<sock_filter> unknownCallsPart(const SeccompProfile& profile) {
  kj::Vector<sock_filter> program;
  bool refuses = (profile.defaultAction & 0xffff0000u) == SCMP_ACT_ERRNO(0);
  if (!refuses) return program;
  switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
      addUnknownCallsPart(program, AUDIT_ARCH_X86_64, newestKnown(SCMP_ARCH_X86_64));
      addUnknownCallsPart(program, AUDIT_ARCH_I386, newestKnown(SCMP_ARCH_X86));
      break;
    case SCMP_ARCH_AARCH64:
      addUnknownCallsPart(program, AUDIT_ARCH_AARCH64, newestKnown(SCMP_ARCH_AARCH64));
      break;
    default:
      break;
  }
  return program;
}

}  // namespace

kj::Array<kj::byte> compileSeccomp(const SeccompProfile& profile) {
  auto context = newContext(profile);
  addRules(context.get(), profile);
  auto program = exportProgram(context.get());

  auto front = unknownCallsPart(profile);
  auto frontBytes = front.asPtr().asBytes();
  size_t total = (frontBytes.size() + program.size()) / sizeof(sock_filter);
  if (total > BPF_MAXINSNS) {
    refuse(FIELD, "the profile needs ", total, " instructions, and the kernel takes ",
           BPF_MAXINSNS);
  }
  auto whole = kj::heapArray<kj::byte>(frontBytes.size() + program.size());
  std::copy(frontBytes.begin(), frontBytes.end(), whole.begin());
  std::copy(program.begin(), program.end(), whole.begin() + frontBytes.size());
  return whole;
}

}  // namespace belay::supervisor
