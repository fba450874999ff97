// What turns a child of the engine into a process of a container, the same for a container's first
// process and for an exec. For children after the clone: allocates nothing, reports failures and
// exits.
#pragma once

#include "shim/engine/execution.h"
#include "shim/engine/process-plan.h"
#include "shim/engine/report.h"
#include "shim/engine/user-lookup.h"
#include "shim/engine/user-namespace.h"

namespace belay::shim {

// First of all: default signal handling, for KJ ignores SIGPIPE and blocks others and execve would
// pass that on; no umask; death with the parent, until privileges are given up.
void resetInherited(const Reporter& reporter);

// Joins cgroups by their open "tasks" files (v1).
void joinCgroups(const Reporter& reporter, kj::ArrayPtr<const kj::AutoCloseFd> tasks);

// Settings of this process that are files below /proc/self; the host's procfs must still be there.
// Without a score of its own a container has 0, not the shim's. A score that this process may not
// go down to (no CAP_SYS_RESOURCE) stays where it is.
void writeProcSettings(const Reporter& reporter, ProcessSpec::Reader process);

// The OOM score alone.
void writeOomScore(const Reporter& reporter, int score);

// A session keyring of its own (keyrings(7)): the host's is the shim's. Kernels without keys pass.
void leaveSessionKeyring(const Reporter& reporter);

// Looks the user up in the passwd and group files below `root`. One that the pod's user namespace
// does not have is none.
void findUser(const Reporter& reporter, int root, IdMapping ids, User::Reader user,
              FoundUser& found);

// `uid` is one of the host's. Gives pipes and terminals to the user, so that it can open
// /dev/stdout, and makes the three standard streams of them.
void installStdio(const Reporter& reporter, uid_t uid, int in, int out, int err);

// Changes to the working directory, and makes sure that it is inside the root (CVE-2024-21626).
// False if permission is missing: a server may allow the user what it denies root, so try again
// after the privileges are given up.
bool enterDirectory(const Reporter& reporter, const char* path);

// Like enterDirectory, but fails with permission missing.
void enterDirectoryAsUser(const Reporter& reporter, const char* path);

void setResourceLimits(const Reporter& reporter, capnp::List<Rlimit>::Reader limits);

// Becomes the user with the capabilities of the specification, for good. Capabilities that this
// process itself lacks are passed over. CAP_SYS_ADMIN is kept, beyond what was asked for, if the
// system call filter is yet to be loaded and needs it.
void becomeUser(const Reporter& reporter, ProcessSpec::Reader process, const FoundUser& user);

// Starts the session, and makes standard input its terminal if it has one.
void startSession(const Reporter& reporter, bool terminal);

// Tells the parent of the process that was made: pid, pidfd, user and, unless they are negative,
// the terminal's master and the connection that the filter's listener is to go to.
void reportMade(const Reporter& reporter, pid_t pid, int pidfd, const FoundUser& user, int master,
                int connection);

// execve of the command, looked up in PATH. A failure exits with 127 if there is no such command,
// else 126.
[[noreturn]] void execute(const Reporter& reporter, const Execution& execution);

}  // namespace belay::shim
