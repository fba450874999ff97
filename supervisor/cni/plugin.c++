// Runs one CNI plug-in once.
#include "supervisor/cni/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/cni/result.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;

constexpr size_t MAX_OUTPUT_BYTES = 1 << 20;

// Memory files rather than pipes: nothing needs to be read or written while the plug-in runs, no
// descendant can hold up an end of file, and the seal is the cap.
kj::AutoCloseFd memoryFile(const char* name) {
  int fd;
  KJ_SYSCALL(fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd inputFile(kj::StringPtr content) {
  auto file = memoryFile("cni-input");
  kj::FdOutputStream(file.get()).write(content.begin(), content.size());
  KJ_SYSCALL(lseek(file, 0, SEEK_SET));
  KJ_SYSCALL(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
  return file;
}

// Holds MAX_OUTPUT_BYTES and not one more: a write beyond fails with EPERM.
kj::AutoCloseFd outputFile(const char* name) {
  auto file = memoryFile(name);
  KJ_SYSCALL(ftruncate(file, MAX_OUTPUT_BYTES));
  KJ_SYSCALL(fcntl(file, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL));
  return file;
}

// What was written; where the plug-in and we share the offset, that is up to it.
kj::String contentOf(int file) {
  off_t end;
  KJ_SYSCALL(end = lseek(file, 0, SEEK_CUR));
  auto text = kj::heapString(kj::min<size_t>(end, MAX_OUTPUT_BYTES));
  ssize_t size;
  KJ_SYSCALL(size = pread(file, text.begin(), text.size(), 0));
  return kj::heapString(text.slice(0, size));
}

snapshot::Command commandOf(PluginCall& call) {
  snapshot::Command command;
  command.path = kj::mv(call.path);
  command.argv = kj::arr(kj::str(command.path));
  command.env = kj::mv(call.env);
  command.group = snapshot::Command::Group::PROCESS_GROUP;
  command.deathSignal = SIGKILL;
  command.oomScoreAdj = 0;
  KJ_IF_MAYBE (home, call.place) home->receive(command);
  return command;
}

}  // namespace

kj::Maybe<kj::String> findPlugin(kj::ArrayPtr<const kj::String> folders, kj::StringPtr type) {
  for (auto& folder : folders) {
    int fd = open(folder.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) continue;
    kj::AutoCloseFd owned(fd);
    struct stat info;
    bool usable = fstatat(owned, type.cStr(), &info, 0) == 0 && S_ISREG(info.st_mode) &&
                  faccessat(owned, type.cStr(), X_OK, 0) == 0;
    if (usable) return kj::str(folder, "/", type);
  }
  return nullptr;
}

kj::Promise<kj::String> runPlugin(snapshot::Children& children, kj::Timer& timer,
                                  kj::Duration timeout, PluginCall call) {
  auto what = kj::str("CNI ", call.command, " by the plug-in ", call.type);
  auto input = inputFile(call.input);
  auto output = outputFile("cni-output");
  auto errors = outputFile("cni-errors");

  auto command = commandOf(call);
  command.descriptors.add(snapshot::Command::Descriptor{STDIN_FILENO, input});
  command.descriptors.add(snapshot::Command::Descriptor{STDOUT_FILENO, output});
  command.descriptors.add(snapshot::Command::Descriptor{STDERR_FILENO, errors});
  auto child = children.spawn(command, snapshot::Child::OnDrop::KILL_GROUP);
  CO_FAILPOINT(timer, "belayd.cni/while-plugin-runs");

  using Ended = kj::Maybe<snapshot::ExitStatus>;
  auto ended = child->wait().then([](snapshot::ExitStatus status) -> Ended { return status; });
  auto late = timer.afterDelay(timeout).then([]() -> Ended { return nullptr; });
  auto outcome = co_await ended.exclusiveJoin(kj::mv(late));

  CO_FAILPOINT(timer, "belayd.cni/after-plugin");
  KJ_IF_MAYBE (status, outcome) {
    auto text = contentOf(output);
    if (text.size() == MAX_OUTPUT_BYTES) {
      snapshot::fail(Code::INTERNAL, what, " failed: it printed more than 1 MiB");
    }
    if (!status->success()) {
      kj::throwFatalException(pluginFailure(what, *status, text, contentOf(errors)));
    }
    co_return text;
  }
  snapshot::fail(Code::DEADLINE_EXCEEDED, what, " took longer than ", timeout / kj::SECONDS,
                 " s and was killed");
}

}  // namespace belay::supervisor
