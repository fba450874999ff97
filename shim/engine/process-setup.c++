// What turns a child of the engine into a process of a container.
#include "shim/engine/process-setup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "shim/engine/syscall-filter.h"
#include "shim/sys/path.h"
#include "shim/sys/privileges.h"

namespace belay::shim {
namespace {

// /etc/passwd and /etc/group are the image's: a larger one is refused.
constexpr size_t MAX_USER_FILE_BYTES = 4 << 20;

// PROC_ROOT_INO of the kernel.
constexpr ino_t PROC_ROOT_INODE = 1;

// Opens a file of this process below /proc, and nothing that pretends to be one (CVE-2025-52881):
// /proc is the root of a procfs, and no other mount is on the way from there.
int openOwnProcFile(const char* name) {
  int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (proc < 0) return -1;
  struct statfs system;
  struct stat info;
  int fd = -1;
  if (fstatfs(proc, &system) == 0 && fstat(proc, &info) == 0) {
    if (system.f_type == PROC_SUPER_MAGIC && info.st_ino == PROC_ROOT_INODE) {
      char path[64] = "self/";
      strncat(path, name, sizeof(path) - strlen(path) - 1);
      fd = sys::openBeneath(proc, path, O_WRONLY, 0, RESOLVE_NO_XDEV);
    } else {
      errno = EMEDIUMTYPE;
    }
  }
  int error = errno;
  close(proc);
  errno = error;
  return fd;
}

// Answers errno.
int writeOwnProcFile(const char* name, kj::ArrayPtr<const char> text) {
  int fd = openOwnProcFile(name);
  if (fd < 0) return errno;
  int error = write(fd, text.begin(), text.size()) < 0 ? errno : 0;
  close(fd);
  return error;
}

void writeApparmorProfile(const Reporter& reporter, const char* profile) {
  constexpr const char* STEP = "set the AppArmor profile";
  if (profile[0] == '\0') return;
  char text[512];
  constexpr char WORD[] = "exec ";
  size_t length = strlen(profile);
  if (length > sizeof(text) - sizeof(WORD)) reporter.fail(STEP, profile, ENAMETOOLONG);
  memcpy(text, WORD, sizeof(WORD) - 1);
  memcpy(text + sizeof(WORD) - 1, profile, length);
  auto command = kj::arrayPtr(text, sizeof(WORD) - 1 + length);
  // The first is AppArmor's own (Linux 5.8); the second belongs to whatever module is the first.
  int error = writeOwnProcFile("attr/apparmor/exec", command);
  if (error == ENOENT) error = writeOwnProcFile("attr/exec", command);
  if (error != 0) {
    reporter.fail(STEP, profile, error, error == ENOENT ? "no such profile is loaded" : "");
  }
}

// Reads a whole file of the image into fresh memory; empty if there is none. Nothing but a regular
// file is read, and nothing that a fifo or a device can do is waited for.
kj::ArrayPtr<const char> readUserFile(const Reporter& reporter, int root, const char* path) {
  constexpr const char* STEP = "read the user database";
  int fd = sys::openInRoot(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return nullptr;
    reporter.fail(STEP, path, errno);
  }
  struct stat info;
  if (fstat(fd, &info) < 0) reporter.fail(STEP, path, errno);
  if (!S_ISREG(info.st_mode)) {
    reporter.refuse(Failure::Code::INVALID_ARGUMENT, STEP, path, "it is not a regular file");
  }
  if (info.st_size > MAX_USER_FILE_BYTES) {
    reporter.refuse(Failure::Code::INVALID_ARGUMENT, STEP, path, "it is larger than 4 MiB");
  }
  size_t size = 0;
  char* text = nullptr;
  if (info.st_size > 0) {
    text = static_cast<char*>(
        mmap(nullptr, info.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (text == MAP_FAILED) reporter.fail(STEP, path, errno);
    while (size < info.st_size) {
      ssize_t n = read(fd, text + size, info.st_size - size);
      if (n < 0) reporter.fail(STEP, path, errno);
      if (n == 0) break;
      size += n;
    }
  }
  close(fd);
  return kj::arrayPtr(text, size);
}

bool hasAll(IdMapping ids, const FoundUser& user) {
  bool all = ids.has(user.uid) && ids.has(user.gid);
  for (uint32_t i = 0; i < user.groupCount; ++i)
    all = all && ids.has(user.groups[i]);
  return all;
}

// The process's own, of which /proc/self/mem and others go by when it is no longer root.
void giveToUser(const Reporter& reporter, uid_t uid, int fd) {
  struct stat info;
  if (fstat(fd, &info) < 0) reporter.fail("look at", "a standard stream", errno);
  bool terminal = S_ISCHR(info.st_mode) && major(info.st_rdev) == 136;
  if (!S_ISFIFO(info.st_mode) && !terminal) return;
  if (info.st_uid != uid && fchown(fd, uid, -1) < 0) {
    reporter.fail("give to the user", "a standard stream", errno);
  }
}

}  // namespace

void resetInherited(const Reporter& reporter) {
  // Async-signal-safe, but for handlers that the C library reserves two signals for.
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(0);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) reporter.fail("die with the shim", "", errno);
}

void joinCgroups(const Reporter& reporter, kj::ArrayPtr<const kj::AutoCloseFd> tasks) {
  for (auto& file : tasks) {
    if (write(file, "0", 1) < 0) reporter.fail("join the cgroup", "tasks", errno);
  }
}

void writeOomScore(const Reporter& reporter, int score) {
  constexpr const char* FILE = "oom_score_adj";
  char text[16];
  auto end = std::to_chars(text, text + sizeof(text), score).ptr;
  int error = writeOwnProcFile(FILE, kj::arrayPtr(text, end - text));
  if (error != 0 && error != EACCES) reporter.fail("set the OOM score", FILE, error);
}

void writeProcSettings(const Reporter& reporter, ProcessSpec::Reader process) {
  writeOomScore(reporter, process.getSetOomScoreAdj() ? process.getOomScoreAdj() : 0);
  writeApparmorProfile(reporter, process.getApparmorProfile().cStr());
}

void leaveSessionKeyring(const Reporter& reporter) {
  long result = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  if (result < 0 && errno != ENOSYS && errno != EPERM && errno != EDQUOT) {
    reporter.fail("leave the host's session keyring", "", errno);
  }
}

void findUser(const Reporter& reporter, int root, IdMapping ids, User::Reader user,
              FoundUser& found) {
  const char* reason = lookUpUser(user, readUserFile(reporter, root, "/etc/passwd"),
                                  readUserFile(reporter, root, "/etc/group"), found);
  if (reason == nullptr && hasAll(ids, found)) return;
  if (reason == nullptr) reason = "the pod's user namespace has no such uid, or one of its gids";
  char number[16];
  const char* object = number;
  if (user.isName()) {
    object = user.getName().cStr();
  } else {
    *std::to_chars(number, number + sizeof(number) - 1, user.getUid()).ptr = '\0';
  }
  reporter.refuse(Failure::Code::INVALID_ARGUMENT, "find the user", object, reason);
}

void installStdio(const Reporter& reporter, uid_t uid, int in, int out, int err) {
  const int streams[] = {in, out, err};
  for (int fd : streams)
    giveToUser(reporter, uid, fd);
  // The sources are above 2: the parent saw to it.
  for (int i = 0; i < 3; ++i) {
    if (dup2(streams[i], i) < 0) reporter.fail("install", "a standard stream", errno);
  }
}

bool enterDirectory(const Reporter& reporter, const char* path) {
  constexpr const char* STEP = "change to the working directory";
  if (chdir(path) < 0) {
    if (errno == EACCES || errno == EPERM) return false;
    reporter.fail(STEP, path, errno);
  }
  // The system call itself: the C library would try other ways. "(unreachable)" is what the kernel
  // puts before a path outside of the root.
  char here[PATH_MAX];
  long length = syscall(SYS_getcwd, here, sizeof(here));
  if (length < 0) reporter.fail(STEP, path, errno);
  if (here[0] != '/') {
    reporter.refuse(Failure::Code::INVALID_ARGUMENT, STEP, path, "it is outside of the container");
  }
  return true;
}

void enterDirectoryAsUser(const Reporter& reporter, const char* path) {
  if (!enterDirectory(reporter, path)) {
    reporter.fail("change to the working directory", path, EACCES);
  }
}

void setResourceLimits(const Reporter& reporter, capnp::List<Rlimit>::Reader limits) {
  for (auto limit : limits) {
    struct rlimit64 value = {limit.getSoft(), limit.getHard()};
    if (prlimit64(0, static_cast<__rlimit_resource>(limit.getResource()), &value, nullptr) < 0) {
      char number[16];
      *std::to_chars(number, number + sizeof(number) - 1, limit.getResource()).ptr = '\0';
      reporter.fail("set the resource limit", number, errno);
    }
  }
}

void becomeUser(const Reporter& reporter, ProcessSpec::Reader process, const FoundUser& user) {
  constexpr const char* STEP = "give up privileges";
  auto wanted = process.getCapabilities();
  uint64_t own;
  if (sys::permittedCapabilities(own) < 0) reporter.fail(STEP, "", errno);

  if (sys::limitBoundingSet(wanted.getBounding()) < 0) {
    reporter.fail(STEP, "the bounding set", errno);
  }
  if (syscall(SYS_setgroups, size_t(user.groupCount), user.groups) < 0) {
    reporter.fail(STEP, "supplementary groups", errno);
  }
  if (setresgid(user.gid, user.gid, user.gid) < 0) reporter.fail(STEP, "the group", errno);
  // Without this the permitted set would be empty once the user is not root.
  if (prctl(PR_SET_KEEPCAPS, 1) < 0) reporter.fail(STEP, "", errno);
  if (setresuid(user.uid, user.uid, user.uid) < 0) reporter.fail(STEP, "the user", errno);
  if (prctl(PR_SET_KEEPCAPS, 0) < 0) reporter.fail(STEP, "", errno);

  uint64_t extra = filterNeedsAdmin(process) ? own & ADMIN_CAPABILITY : 0;
  uint64_t permitted = (wanted.getPermitted() & own) | extra;
  uint64_t effective = (wanted.getEffective() & own) | extra;
  if (sys::setCapabilities(effective, permitted, wanted.getInheritable() & own) < 0) {
    reporter.fail(STEP, "capabilities", errno);
  }
  if (sys::setAmbient(wanted.getAmbient() & own) < 0) {
    reporter.fail(STEP, "ambient capabilities", errno);
  }
  // A change of credentials sets it anew, to what fs.suid_dumpable says.
  if (prctl(PR_SET_DUMPABLE, 0) < 0) reporter.fail(STEP, "", errno);
  umask(process.getUmask());
  if (process.getNoNewPrivileges() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    reporter.fail(STEP, "no_new_privs", errno);
  }
}

void reportMade(const Reporter& reporter, pid_t pid, int pidfd, const FoundUser& user, int master,
                int connection) {
  Report report;
  report.kind = Report::Kind::MADE;
  report.pid = pid;
  report.uid = user.uid;
  report.gid = user.gid;
  report.groupCount = user.groupCount;
  for (uint32_t i = 0; i < user.groupCount; ++i)
    report.groups[i] = user.groups[i];
  report.withTerminal = master >= 0;
  report.withConnection = connection >= 0;
  int fds[3] = {pidfd};
  size_t count = 1;
  if (report.withTerminal) fds[count++] = master;
  if (report.withConnection) fds[count++] = connection;
  reporter.send(report, kj::arrayPtr(fds, count));
}

void startSession(const Reporter& reporter, bool terminal) {
  if (setsid() < 0) reporter.fail("start a session", "", errno);
  if (terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0) {
    reporter.fail("make the terminal the session's", "", errno);
  }
}

}  // namespace belay::shim
