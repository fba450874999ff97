// See user-namespace-fault.h.
#include "supervisor/user-namespace-fault.h"

#include <kj/debug.h>
#include <kj/io.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

// It takes some milliseconds.
constexpr kj::Duration LIMIT = 10 * kj::SECONDS;

// A sentence with a path in it.
constexpr size_t MAX_ANSWER_BYTES = 8192;

kj::String readAnswer(int file) {
  char text[MAX_ANSWER_BYTES];
  ssize_t size;
  KJ_SYSCALL(size = pread(file, text, sizeof(text), 0));
  while (size > 0 && text[size - 1] == '\n')
    --size;
  return kj::heapString(text, size);
}

kj::Promise<kj::String> ask(snapshot::Children& children, kj::Timer& timer,
                            kj::StringPtr shimProgram, kj::StringPtr folder) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("user-namespace-fault", MFD_CLOEXEC));
  kj::AutoCloseFd answer(fd);
  snapshot::Command command;
  command.path = kj::str(shimProgram);
  command.argv = kj::arr(kj::str("belay-shim"), kj::str("--try-user-namespaces"), kj::str(folder));
  command.group = snapshot::Command::Group::PROCESS_GROUP;
  command.deathSignal = SIGKILL;
  command.descriptors.add(snapshot::Command::Descriptor{STDOUT_FILENO, answer});
  auto child = children.spawn(command, snapshot::Child::OnDrop::KILL_GROUP);
  bool late = false;
  auto status = co_await child->wait().exclusiveJoin(timer.afterDelay(LIMIT).then([&]() {
    late = true;
    return snapshot::ExitStatus();
  }));
  if (late) co_return kj::str("Trying it took longer than ", LIMIT / kj::SECONDS, " s.");
  auto text = readAnswer(answer);
  if (!status.success() && text.size() == 0) {
    co_return kj::str("The program that tries it ended with ", status.describe(), ".");
  }
  co_return kj::mv(text);
}

}  // namespace

kj::Promise<kj::String> findUserNamespaceFault(snapshot::Children& children, kj::Timer& timer,
                                               kj::StringPtr shimProgram, kj::String folder) {
  auto asking = ask(children, timer, shimProgram, folder);
  return asking
      .catch_([](kj::Exception&& exception) {
        return kj::str("It could not be tried: ", snapshot::messageOf(exception));
      })
      .attach(kj::mv(folder));
}

}  // namespace belay::supervisor
