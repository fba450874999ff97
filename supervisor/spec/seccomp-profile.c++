// The default seccomp profile.
#include "supervisor/spec/seccomp-profile.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>

namespace belay::supervisor {

namespace {

// Names by topic, separated by spaces. The 32-bit architectures' variants stand beside what they
// vary; a name that an architecture, or this libseccomp, does not know means nothing there.
constexpr kj::StringPtr ALLOWED[] = {
    // Files and folders by name.
    "access chdir chmod chown chown32 creat execve execveat faccessat faccessat2 fchmodat "
    "fchmodat2 "
    "fchownat fstatat64 futimesat getcwd lchown lchown32 link linkat lstat lstat64 mkdir mkdirat "
    "mknod mknodat name_to_handle_at newfstatat oldlstat oldstat open openat openat2 readlink "
    "readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statx symlink "
    "symlinkat "
    "truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes"_kj,
    "getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr lsetxattr "
    "removexattr removexattrat setxattr setxattrat fgetxattr flistxattr fremovexattr fsetxattr"_kj,
    "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch fanotify_mark"_kj,
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self"_kj,

    // Open files.
    "_llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 "
    "fallocate fchdir fchmod fchown fchown32 fcntl fcntl64 fdatasync flock fstat fstat64 fstatfs "
    "fstatfs64 fsync ftruncate ftruncate64 getdents getdents64 ioctl lseek oldfstat pipe pipe2 "
    "pread64 "
    "preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync "
    "sync_file_range sync_file_range2 syncfs tee vmsplice write writev"_kj,
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
    "epoll_wait "
    "epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select "
    "signalfd "
    "signalfd4 timerfd timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64"_kj,
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit "
    "ioprio_get "
    "ioprio_set"_kj,

    // Memory.
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 "
    "mlockall "
    "mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free "
    "pkey_mprotect process_mrelease remap_file_pages"_kj,

    // Sockets; socket itself is below.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall "
    "socketpair"_kj,

    // Messages, semaphores, shared memory.
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop "
    "semtimedop_time64 shmat shmctl shmdt shmget"_kj,

    // Processes and threads; clone itself is below.
    "_exit exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake "
    "get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getsid gettid kill "
    "pause "
    "pidfd_open pidfd_send_signal prctl restart_syscall rseq seccomp set_robust_list "
    "set_thread_area "
    "set_tid_address setpgid setsid tgkill tkill uname vfork wait4 waitid waitpid"_kj,
    // Attaching to one's own kind; the kernel's checks and Yama decide beyond that.
    "process_vm_readv process_vm_writev ptrace"_kj,
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack "
    "signal "
    "sigpending sigprocmask sigreturn sigsuspend ssetmask"_kj,
    "arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush modify_ldt set_tls "
    "uretprobe"_kj,

    // Who one is, and what one may use.
    "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 "
    "getresgid "
    "getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 "
    "setgid "
    "setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid "
    "setresuid32 "
    "setreuid setreuid32 setuid setuid32"_kj,
    "getpriority getrlimit getrusage nice prlimit64 sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler "
    "sched_yield setpriority setrlimit sysinfo times ugetrlimit"_kj,
    "getrandom listmount lsm_get_self_attr lsm_list_modules statmount"_kj,

    // Time. Setting the clock is refused by the kernel without SYS_TIME.
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep "
    "setitimer "
    "time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
    "timer_settime64"_kj,
};

struct CapabilityCalls {
  int capability;
  kj::StringPtr names;
};

constexpr CapabilityCalls BY_CAPABILITY[] = {
    {CAP_SYS_ADMIN,
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
     "mount_setattr "
     "move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd "
     "setdomainname "
     "sethostname setns syslog umount umount2 unshare"_kj},
    {CAP_BPF, "bpf"_kj},
    {CAP_PERFMON, "perf_event_open"_kj},
    {CAP_SYSLOG, "syslog"_kj},
    {CAP_DAC_READ_SEARCH, "open_by_handle_at"_kj},
    {CAP_SYS_BOOT, "reboot"_kj},
    {CAP_SYS_CHROOT, "chroot"_kj},
    {CAP_SYS_MODULE, "delete_module finit_module init_module"_kj},
    {CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"_kj},
    {CAP_SYS_PACCT, "acct"_kj},
    {CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"_kj},
    {CAP_SYS_RAWIO, "ioperm iopl"_kj},
    {CAP_SYS_TIME, "clock_settime clock_settime64 settimeofday stime"_kj},
    {CAP_SYS_TTY_CONFIG, "vhangup"_kj},
};

// clone(2) with any of these makes a namespace.
constexpr uint64_t NAMESPACE_FLAGS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                     CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

// personality(2): Linux and Linux32, each with and without UNAME26 of old programs, and "tell me".
constexpr uint64_t PERSONALITIES[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

kj::Array<kj::String> split(kj::StringPtr names) {
  kj::Vector<kj::String> all;
  for (size_t begin = 0; begin < names.size();) {
    size_t end = begin;
    while (end < names.size() && names[end] != ' ')
      ++end;
    all.add(kj::heapString(names.slice(begin, end)));
    begin = end + 1;
  }
  return all.releaseAsArray();
}

void allow(SeccompProfile& profile, kj::StringPtr names) {
  profile.rules.add(SeccompRule{split(names), SCMP_ACT_ALLOW, nullptr});
}

void allowIf(SeccompProfile& profile, kj::StringPtr names, SeccompArgument argument) {
  profile.rules.add(SeccompRule{split(names), SCMP_ACT_ALLOW, kj::arr(argument)});
}

void addArchitectures(SeccompProfile& profile) {
  switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
      profile.architectures.add(SCMP_ARCH_X86);
      profile.architectures.add(SCMP_ARCH_X32);
      break;
    case SCMP_ARCH_AARCH64:
      profile.architectures.add(SCMP_ARCH_ARM);
      break;
    default:
      break;
  }
}

}  // namespace

kj::String SeccompProfile::canonical() const {
  kj::Vector<kj::String> lines;
  lines.add(kj::str("default ", kj::hex(defaultAction)));
  for (auto architecture : architectures)
    lines.add(kj::str("arch ", kj::hex(architecture)));
  for (auto& rule : rules) {
    auto arguments = KJ_MAP(argument, rule.arguments) {
      return kj::str(argument.index, "/", static_cast<int>(argument.compare), "/",
                     kj::hex(argument.value), "/", kj::hex(argument.valueTwo));
    };
    lines.add(kj::str(kj::hex(rule.action), " ", kj::strArray(arguments, ","), " ",
                      kj::strArray(rule.names, " ")));
  }
  return kj::strArray(lines, "\n");
}

SeccompProfile defaultProfile(uint64_t capabilities) {
  SeccompProfile profile;
  profile.defaultAction = SCMP_ACT_ERRNO(EPERM);
  addArchitectures(profile);
  for (auto names : ALLOWED)
    allow(profile, names);
  for (auto& calls : BY_CAPABILITY) {
    if ((capabilities & (1ull << calls.capability)) != 0) allow(profile, calls.names);
  }
  for (auto value : PERSONALITIES) {
    allowIf(profile, "personality", {0, SCMP_CMP_EQ, value, 0});
  }
  // A vsock reaches the machine's hypervisor past every network namespace.
  allowIf(profile, "socket", {0, SCMP_CMP_NE, AF_VSOCK, 0});

  if ((capabilities & (1ull << CAP_SYS_ADMIN)) == 0) {
    allowIf(profile, "clone", {0, SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0});
    // Its flags are in memory, where no filter can see them; callers turn to clone on ENOSYS.
    profile.rules.add(SeccompRule{split("clone3"), SCMP_ACT_ERRNO(ENOSYS), nullptr});
  }
  return profile;
}

}  // namespace belay::supervisor
