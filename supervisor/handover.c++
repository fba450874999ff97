// See handover.h.
#include "supervisor/handover.h"

#include <capnp/serialize.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "supervisor/attempt.h"
#include "supervisor/config/ip-endpoint.h"
#include "supervisor/database.h"
#include "supervisor/log.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// Holds the number of the memory file with the message.
constexpr const char* VARIABLE = "BELAY_HANDOVER";

constexpr kj::StringPtr ACCEPTED = " can take over\n"_kj;

constexpr kj::Duration CHECK_LIMIT = 20 * kj::SECONDS;
constexpr size_t MAX_OUTPUT_BYTES = 4096;
constexpr off_t MAX_HANDOVER_BYTES = 64 << 20;
constexpr int HANDOVER_NUMBER = 3;  // in the program that is tried

kj::AutoCloseFd newMemoryFile(const char* name) {
  int fd;
  KJ_SYSCALL(fd = memfd_create(name, MFD_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd write(Handover::Reader handover) {
  auto file = newMemoryFile("belayd-handover");
  auto bytes = Owned<Handover>(handover);
  kj::FdOutputStream(file.get()).write(bytes.bytes().begin(), bytes.bytes().size());
  return file;
}

Owned<Handover> read(int file) {
  struct stat stats;
  KJ_SYSCALL(fstat(file, &stats));
  if (stats.st_size == 0 || stats.st_size > MAX_HANDOVER_BYTES) {
    fail(Code::FAILED_PRECONDITION, "what the former belayd left has ", stats.st_size, " bytes");
  }
  auto bytes = kj::heapArray<kj::byte>(stats.st_size);
  ssize_t count;
  KJ_SYSCALL(count = pread(file, bytes.begin(), bytes.size(), 0));
  KJ_REQUIRE(count == stats.st_size, "the handover is cut short");
  return Owned<Handover>::fromBytes(bytes);
}

kj::String textOf(int file) {
  char text[MAX_OUTPUT_BYTES];
  ssize_t count;
  KJ_SYSCALL(count = pread(file, text, sizeof(text), 0));
  return kj::heapString(text, count);
}

kj::String trimmed(kj::StringPtr text) {
  size_t size = text.size();
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
    --size;
  return kj::heapString(text.slice(0, size));
}

kj::Vector<kj::String> environment() {
  kj::Vector<kj::String> all;
  for (char** entry = environ; *entry != nullptr; ++entry)
    all.add(kj::str(static_cast<const char*>(*entry)));
  return all;
}

void keepOpen(int number) {
  if (number < 0) return;
  KJ_SYSCALL(fcntl(number, F_SETFD, 0), number);
}

void keepAllOpen(Handover::Reader handover) {
  for (int number : {handover.getLock(), handover.getStateLock(), handover.getCgroupLock(),
                     handover.getCriSocket(), handover.getAdminSocket(),
                     handover.getStreamingSocket(), handover.getRelaySocket()}) {
    keepOpen(number);
  }
  for (auto held : handover.getHeld())
    keepOpen(held.getNumber());
}

// Returns only if it does not run.
void execute(kj::StringPtr file, kj::StringPtr name, kj::ArrayPtr<const kj::String> arguments) {
  kj::Vector<char*> argv;
  argv.add(const_cast<char*>(name.cStr()));
  for (auto& argument : arguments)
    argv.add(const_cast<char*>(argument.cStr()));
  argv.add(nullptr);
  execve(file.cStr(), argv.begin(), environ);
  log(LogLevel::ERROR, "the next belayd does not run", "program", file, "reason",
      static_cast<const char*>(strerror(errno)));
}

void requireSame(kj::StringPtr setting, kj::StringPtr before, kj::StringPtr wanted) {
  if (before == wanted) return;
  fail(Code::FAILED_PRECONDITION, setting, " is ", wanted, ", but the belayd that runs has ",
       before, ": stop belayd and start it again to change it");
}

}  // namespace

Invocation Invocation::ofThisProcess(int argc, const char* const* argv) {
  char path[4096];
  ssize_t size;
  KJ_SYSCALL(size = readlink("/proc/self/exe", path, sizeof(path)));
  Invocation invocation{kj::heapString(path, size), nullptr};
  kj::Vector<kj::String> arguments;
  for (int i = 1; i < argc; ++i)
    arguments.add(kj::str(argv[i]));
  invocation.arguments = arguments.releaseAsArray();
  return invocation;
}

kj::Promise<void> tryNext(snapshot::Children& children, kj::Timer& timer, kj::StringPtr program,
                          kj::ArrayPtr<const kj::String> arguments, Handover::Reader handover) {
  using Descriptor = snapshot::Command::Descriptor;
  auto message = write(handover);
  auto output = newMemoryFile("belayd-check");
  auto errors = newMemoryFile("belayd-check");
  auto path = kj::str(program);
  snapshot::Command command;
  command.path = kj::str(path);
  kj::Vector<kj::String> argv;
  argv.add(kj::str(path));
  for (auto& argument : arguments)
    argv.add(kj::str(argument));
  argv.add(kj::str("check-handover"));
  command.argv = argv.releaseAsArray();
  auto variables = environment();
  variables.add(kj::str(VARIABLE, '=', HANDOVER_NUMBER));
  command.env = variables.releaseAsArray();
  command.descriptors.add(Descriptor{STDOUT_FILENO, output});
  command.descriptors.add(Descriptor{STDERR_FILENO, errors});
  command.descriptors.add(Descriptor{HANDOVER_NUMBER, message});

  auto child = children.spawn(command, snapshot::Child::OnDrop::KILL);
  auto status = co_await orLate(
      timer, CHECK_LIMIT, "the new program's check of what it would take over", child->wait());
  if (status.success() && textOf(output).endsWith(ACCEPTED)) co_return;
  fail(Code::FAILED_PRECONDITION, path, " cannot take over (", status.describe(),
       "), and the belayd that runs goes on: ", trimmed(textOf(errors)));
}

void becomeNext(kj::StringPtr program, kj::ArrayPtr<const kj::String> arguments,
                Handover::Reader handover) {
  auto message = write(handover);
  setenv(VARIABLE, kj::str(message.get()).cStr(), 1);
  keepOpen(message);
  keepAllOpen(handover);
  execute(program, program, arguments);
  execute("/proc/self/exe", program, arguments);
  _exit(1);
}

kj::Maybe<Owned<Handover>> takeHandover() {
  const char* text = getenv(VARIABLE);
  if (text == nullptr) return nullptr;
  kj::AutoCloseFd file(atoi(text));
  unsetenv(VARIABLE);
  return read(file);
}

kj::AutoCloseFd takeDescriptor(int number) {
  if (number < 0) return nullptr;
  KJ_SYSCALL(fcntl(number, F_SETFD, FD_CLOEXEC), number);
  return kj::AutoCloseFd(number);
}

void requireAcceptable(Handover::Reader handover, const Config& config) {
  requireSame("root", handover.getRoot(), config.root);
  requireSame("state", handover.getState(), config.state);
  requireSame("listen", handover.getListen(), config.listen);
  requireSame("cgroup_root", handover.getCgroupRoot(), config.cgroupRoot);
  KJ_IF_MAYBE (bound, IpEndpoint::tryParse(handover.getStreamingAddress())) {
    auto wanted = KJ_REQUIRE_NONNULL(IpEndpoint::tryParse(config.streamingAddress));
    if (!bound->fits(wanted)) {
      requireSame("streaming.address", handover.getStreamingAddress(), config.streamingAddress);
    }
  }
  if (handover.getDatabaseLayout() > Database::LAYOUT_VERSION) {
    fail(Code::FAILED_PRECONDITION, "the database has layout ", handover.getDatabaseLayout(),
         ", and this belayd knows layout ", Database::LAYOUT_VERSION, ": it is older");
  }
}

kj::String acceptance(kj::StringPtr version) {
  return kj::str("belayd ", version, ACCEPTED);
}

}  // namespace belay::supervisor
