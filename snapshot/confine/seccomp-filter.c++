// See seccomp-filter.h.
#include "snapshot/confine/seccomp-filter.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/string.h>
#include <sched.h>
#include <seccomp.h>

#include <memory>

namespace belay::snapshot {

namespace {

// libseccomp returns a negative errno instead of setting errno.
#define CHECK_SECCOMP(call, ...)                                      \
  do {                                                                \
    int result_ = (call);                                             \
    if (result_ < 0) KJ_FAIL_SYSCALL(#call, -result_, ##__VA_ARGS__); \
  } while (false)

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

Filter newFilter(uint32_t defaultAction) {
  Filter filter(seccomp_init(defaultAction), &seccomp_release);
  KJ_REQUIRE(filter != nullptr, "libseccomp cannot make a filter");
  // A binary tree instead of a chain: loading costs a fifth.
  CHECK_SECCOMP(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  return filter;
}

void addRules(Filter& filter, uint32_t action, Syscalls list) {
  for (const char* name : list) {
    int number = seccomp_syscall_resolve_name(name);
    // A name that this libseccomp does not know, or this machine does not have, needs no rule: the
    // default stands for it.
    if (number < 0) continue;
    CHECK_SECCOMP(seccomp_rule_add(filter.get(), action, number, 0), name);
  }
}

bool isAmong(std::initializer_list<Syscalls> lists, kj::StringPtr name) {
  for (const Syscalls& list : lists) {
    for (const char* other : list) {
      if (name == other) return true;
    }
  }
  return false;
}

}  // namespace

const Syscalls BASE_SYSCALLS = {
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "exit",
    "exit_group",
    "futex",
    "getpid",
    "getrandom",
    "gettid",
    "gettimeofday",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sigaltstack",
};

const Syscalls PIPE_SYSCALLS = {
    "close", "fcntl", "fstat", "lseek", "newfstatat", "pread64", "read", "readv", "write", "writev",
};

const Syscalls RPC_SYSCALLS = {
    "copy_file_range", "epoll_create1", "epoll_ctl",  "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "eventfd2",        "ftruncate",     "getsockopt", "ioctl",       "poll",         "ppoll",
    "pwrite64",        "recvfrom",      "recvmsg",    "sendmsg",     "sendto",       "shutdown",
};

const Syscalls FILE_TREE_SYSCALLS = {
    "fchmod",     "fchmodat", "fchown",    "fchownat", "fsetxattr", "ftruncate", "fgetxattr",
    "getdents64", "linkat",   "mkdirat",   "mknodat",  "openat",    "openat2",   "readlinkat",
    "setfsgid",   "setfsuid", "symlinkat", "umask",    "unlinkat",  "utimensat",
};

const Syscalls LIBRARY_SYSCALLS = {
    "access",    "faccessat", "faccessat2", "getcwd",
    "getegid",   "geteuid",   "getgid",     "getrlimit",
    "getuid",    "open",      "openat",     "prctl",
    "prlimit64", "readlink",  "readlinkat", "sched_getaffinity",
    "stat",      "statx",     "sysinfo",    "uname",
};

const Syscalls FOREIGN_SYSCALLS = {
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "clone3",
    "delete_module",
    "execve",
    "execveat",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "kill",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "reboot",
    "request_key",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "setns",
    "swapoff",
    "swapon",
    "syslog",
    "tkill",
    "umount2",
    "unshare",
    "userfaultfd",
    "vmsplice",
};

void allowOnly(std::initializer_list<Syscalls> lists) {
  Filter filter = newFilter(SCMP_ACT_KILL_PROCESS);
  for (const Syscalls& list : lists)
    addRules(filter, SCMP_ACT_ALLOW, list);
  for (const char* name : LIBRARY_SYSCALLS) {
    if (!isAmong(lists, name)) addRules(filter, SCMP_ACT_ERRNO(EPERM), {name});
  }
  CHECK_SECCOMP(seccomp_load(filter.get()));
}

void deny(Syscalls list) {
  Filter filter = newFilter(SCMP_ACT_ALLOW);
  for (const char* name : list) {
    // glibc tries clone3 first and falls back to clone on ENOSYS alone. clone3 hides its flags
    // behind a pointer; clone shows them, so new namespaces can be refused there.
    bool isClone3 = kj::StringPtr(name) == "clone3";
    addRules(filter, SCMP_ACT_ERRNO(isClone3 ? ENOSYS : EPERM), {name});
  }
  for (uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                        CLONE_NEWPID, CLONE_NEWNET}) {
    CHECK_SECCOMP(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                   SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag)));
  }
  CHECK_SECCOMP(seccomp_load(filter.get()));
}

}  // namespace belay::snapshot
