// AppArmor as the node has it.
#include "supervisor/spec/apparmor.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// The kernel's list has a line for each profile; a node full of snaps has some thousand.
constexpr size_t MAX_LIST_BYTES = 4 << 20;
constexpr size_t MAX_PROFILE_BYTES = 4 << 20;

constexpr kj::Duration COMPILE_LIMIT = 60 * kj::SECONDS;

// Where Debian and others have it.
constexpr kj::StringPtr PARSERS[] = {"/usr/sbin/apparmor_parser"_kj, "/sbin/apparmor_parser"_kj};

kj::Maybe<kj::String> readFile(kj::StringPtr path, size_t most) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  kj::AutoCloseFd file(fd);
  kj::Vector<char> text;
  char buffer[16384];
  for (;;) {
    ssize_t size = read(file, buffer, sizeof(buffer));
    if (size < 0 || text.size() + size > most) return nullptr;
    if (size == 0) break;
    text.addAll(buffer, buffer + size);
  }
  return kj::heapString(text.asPtr());
}

kj::AutoCloseFd memoryFile(const char* name) {
  int fd;
  KJ_SYSCALL(fd = memfd_create(name, MFD_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

kj::Array<kj::byte> contentOf(int file) {
  struct stat info;
  KJ_SYSCALL(fstat(file, &info));
  auto bytes = kj::heapArray<kj::byte>(kj::min<size_t>(info.st_size, MAX_PROFILE_BYTES));
  ssize_t size;
  KJ_SYSCALL(size = pread(file, bytes.begin(), bytes.size(), 0));
  return kj::heapArray<kj::byte>(bytes.slice(0, size));
}

kj::StringPtr findParser() {
  for (auto path : PARSERS) {
    if (access(path.cStr(), X_OK) == 0) return path;
  }
  fail(Code::FAILED_PRECONDITION, "there is no apparmor_parser (Debian package apparmor)");
}

}  // namespace

kj::Maybe<kj::Own<AppArmor>> AppArmor::ofThisKernel() {
  KJ_IF_MAYBE (enabled, readFile("/sys/module/apparmor/parameters/enabled", 16)) {
    if (enabled->startsWith("Y")) return kj::heap<AppArmor>(FOLDER);
  }
  return nullptr;
}

AppArmor::AppArmor(kj::StringPtr folder) : folder(kj::str(folder)) {}

kj::Promise<void> AppArmor::loadDefault(snapshot::Children& children, kj::Timer& timer) {
  auto input = memoryFile("apparmor-profile");
  auto output = memoryFile("apparmor-compiled");
  auto errors = memoryFile("apparmor-errors");
  kj::FdOutputStream(input.get()).write(defaultText().begin(), defaultText().size());
  KJ_SYSCALL(lseek(input, 0, SEEK_SET));

  snapshot::Command command;
  command.path = kj::str(findParser());
  // To standard output, without caches: what is loaded is what stands here.
  command.argv = kj::arr(kj::str("apparmor_parser"), kj::str("--skip-kernel-load"),
                         kj::str("--skip-cache"), kj::str("--stdout"));
  command.env = kj::arr(kj::str("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), kj::str("LC_ALL=C"));
  command.group = snapshot::Command::Group::PROCESS_GROUP;
  command.deathSignal = SIGKILL;
  command.descriptors.add(snapshot::Command::Descriptor{STDIN_FILENO, input});
  command.descriptors.add(snapshot::Command::Descriptor{STDOUT_FILENO, output});
  command.descriptors.add(snapshot::Command::Descriptor{STDERR_FILENO, errors});
  auto child = children.spawn(command, snapshot::Child::OnDrop::KILL_GROUP);
  auto late = timer.afterDelay(COMPILE_LIMIT).then([]() -> snapshot::ExitStatus {
    fail(Code::DEADLINE_EXCEEDED, "apparmor_parser took longer than ", COMPILE_LIMIT / kj::SECONDS,
         " s");
  });
  auto status = co_await child->wait().exclusiveJoin(kj::mv(late));
  if (!status.success()) {
    fail(Code::FAILED_PRECONDITION, "apparmor_parser ended with ", status.describe(), ": ",
         contentOf(errors).asChars());
  }
  load(contentOf(output));
}

void AppArmor::load(kj::Array<kj::byte> compiled) {
  auto path = kj::str(folder, "/.replace");
  int fd = open(path.cStr(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) fail(Code::FAILED_PRECONDITION, "cannot open ", path, ": ", strerror(errno));
  kj::AutoCloseFd file(fd);
  // The whole in one write: apparmorfs takes no parts.
  ssize_t size = write(file, compiled.begin(), compiled.size());
  if (size != ssize_t(compiled.size())) {
    fail(Code::FAILED_PRECONDITION, "the kernel does not take the profile ", DEFAULT_PROFILE, ": ",
         strerror(size < 0 ? errno : EIO));
  }
  compiledDefault = kj::mv(compiled);
}

bool AppArmor::isLoaded(kj::StringPtr profile) const {
  // A line is "NAME (MODE)", and a name may hold spaces.
  KJ_IF_MAYBE (list, readFile(kj::str(folder, "/profiles"), MAX_LIST_BYTES)) {
    auto wanted = kj::str("\n", profile, " (");
    return strstr(kj::str("\n", *list).cStr(), wanted.cStr()) != nullptr;
  }
  return false;
}

bool AppArmor::hasDefault() {
  if (isLoaded(DEFAULT_PROFILE)) return true;
  if (compiledDefault.size() == 0) return false;
  KJ_IF_MAYBE (failure,
               kj::runCatchingExceptions([&] { load(kj::heapArray(compiledDefault.asPtr())); })) {
    KJ_LOG(ERROR, "the default AppArmor profile was removed and cannot be loaded again",
           snapshot::messageOf(*failure));
    return false;
  }
  return isLoaded(DEFAULT_PROFILE);
}

}  // namespace belay::supervisor
