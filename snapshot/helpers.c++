// See helpers.h.
#include "snapshot/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <kj/debug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

// A helper can be started again; the pods of a machine out of memory cannot.
constexpr int OOM_SCORE_ADJ = 500;

// What a fetch may learn of belayd's environment (curl(1), "ENVIRONMENT"; OpenSSL's trust store).
constexpr const char* FETCH_VARIABLES[] = {"HTTP_PROXY",    "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
                                           "http_proxy",    "https_proxy", "all_proxy", "no_proxy",
                                           "SSL_CERT_FILE", "SSL_CERT_DIR"};

struct Pipe {
  kj::AutoCloseFd readEnd;
  kj::AutoCloseFd writeEnd;
};

Pipe makePipe() {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  return {kj::AutoCloseFd(ends[0]), kj::AutoCloseFd(ends[1])};
}

kj::Array<kj::String> environmentFor(kj::StringPtr mode) {
  kj::Vector<kj::String> result;
  if (mode == "fetch") {
    for (const char* name : FETCH_VARIABLES) {
      const char* value = getenv(name);
      if (value != nullptr) result.add(kj::str(name, '=', value));
    }
  }
  KJ_IF_MAYBE (failpoints, failpoint::environmentFor("pull.")) {
    result.add(kj::mv(*failpoints));
  }
  return result.releaseAsArray();
}

bool contains(kj::StringPtr text, const char* part) {
  return strstr(text.cStr(), part) != nullptr;
}

// Throws unless the helper ended well.
void requireSuccess(kj::StringPtr mode, const Helpers::Outcome& outcome, Code code) {
  if (outcome.status.success() && !outcome.report.startsWith("failed ")) return;
  if (outcome.status.signal != 0 || !outcome.report.startsWith("failed ")) {
    fail(Code::INTERNAL, "belay-pull ", mode, " ended with ", outcome.status.describe(),
         " and said \"", outcome.report, "\"");
  }
  kj::StringPtr sentence = outcome.report.slice(strlen("failed "));
  // The report line carries no code; a full disk is the one cause that asks for another answer.
  bool full = contains(sentence, strerror(ENOSPC)) || contains(sentence, strerror(EDQUOT));
  fail(full ? Code::RESOURCE_EXHAUSTED : code, mode, ": ", sentence);
}

// The numbers of the report line "ok FIRST SECOND".
struct Numbers {
  uint64_t first;
  uint64_t second;
};
Numbers parseOk(kj::StringPtr mode, kj::StringPtr report) {
  Numbers numbers;
  char end;
  if (sscanf(report.cStr(), "ok %" SCNu64 " %" SCNu64 "%c", &numbers.first, &numbers.second,
             &end) != 2) {
    fail(Code::INTERNAL, "belay-pull ", mode, " reported \"", report, "\" and no two numbers");
  }
  return numbers;
}

Helpers::Hashed parseHashed(kj::StringPtr report) {
  KJ_IF_MAYBE (space, report.findFirst(' ')) {
    KJ_IF_MAYBE (digest, Digest::tryFromHex(kj::heapString(report.slice(0, *space)))) {
      KJ_IF_MAYBE (bytes, report.slice(*space + 1).tryParseAs<uint64_t>()) {
        return {*digest, *bytes};
      }
    }
  }
  fail(Code::INTERNAL, "belay-pull hash reported \"", report, "\", which is no digest and size");
}

// A stage that fails closes its pipes, so the others fail too: those before it for a broken pipe,
// those after it for a short input. The cause is the first that does not complain of its reader.
void requirePipeline(kj::ArrayPtr<const kj::StringPtr> modes,
                     kj::ArrayPtr<const Helpers::Outcome> outcomes) {
  for (size_t i = 0; i < modes.size(); ++i) {
    bool readerGone = !outcomes[i].status.success() && outcomes[i].status.signal == 0 &&
                      contains(outcomes[i].report, strerror(EPIPE));
    if (!readerGone) requireSuccess(modes[i], outcomes[i], Code::FAILED_PRECONDITION);
  }
  for (size_t i = 0; i < modes.size(); ++i) {
    requireSuccess(modes[i], outcomes[i], Code::INTERNAL);
  }
}

}  // namespace

Helpers::Helpers(Children& children, kj::LowLevelAsyncIoProvider& io, kj::StringPtr program,
                 kj::Maybe<HelperPlace&> place)
    : children(children), io(io), program(kj::str(program)), place(place) {}

kj::Promise<void> Helpers::whenFree() {
  KJ_IF_MAYBE (home, place) return home->whenFree();
  return kj::READY_NOW;
}

kj::Own<Child> Helpers::start(kj::ArrayPtr<const kj::StringPtr> arguments,
                              kj::ArrayPtr<const Command::Descriptor> descriptors) {
  Command command;
  command.path = kj::str(program);
  kj::Vector<kj::String> argv(arguments.size() + 1);
  argv.add(kj::str("belay-pull"));
  for (kj::StringPtr argument : arguments)
    argv.add(kj::str(argument));
  command.argv = argv.releaseAsArray();
  command.env = environmentFor(arguments[0]);
  command.descriptors.addAll(descriptors);
  command.deathSignal = SIGKILL;
  command.oomScoreAdj = OOM_SCORE_ADJ;
  KJ_IF_MAYBE (home, place) home->receive(command);
  return children.spawn(command, Child::OnDrop::KILL);
}

kj::Promise<Helpers::Outcome> Helpers::run(kj::ArrayPtr<const kj::StringPtr> arguments,
                                           kj::ArrayPtr<const Command::Descriptor> descriptors,
                                           int reportNumber) {
  Pipe pipe = makePipe();
  kj::Vector<Command::Descriptor> all;
  all.addAll(descriptors);
  all.add(Command::Descriptor{reportNumber, pipe.writeEnd.get()});
  auto child = start(arguments, all);
  pipe.writeEnd = nullptr;

  auto stream = io.wrapInputFd(kj::mv(pipe.readEnd));
  auto text = kj::heapArray<char>(MAX_REPORT_BYTES);
  size_t size = co_await stream->tryRead(text.begin(), text.size(), text.size());
  // A report longer than that is none of ours: the writer sees a broken pipe.
  stream = nullptr;
  ExitStatus status = co_await child->wait();
  while (size > 0 && text[size - 1] == '\n')
    --size;
  co_return Outcome{status, kj::heapString(text.slice(0, size))};
}

kj::Promise<Helpers::Hashed> Helpers::hash(int file) {
  auto outcome = co_await run(kj::arr("hash"_kj), kj::arr(Command::Descriptor{0, file}), 3);
  requireSuccess("hash", outcome, Code::INTERNAL);
  co_return parseHashed(outcome.report);
}

kj::Promise<kj::String> Helpers::runOnFolder(kj::StringPtr mode, int folder) {
  auto outcome = co_await run(kj::arr(mode), kj::arr(Command::Descriptor{3, folder}), 4);
  requireSuccess(mode, outcome, Code::INTERNAL);
  co_return kj::mv(outcome.report);
}

kj::Promise<void> Helpers::removeContents(int folder) {
  return runOnFolder("remove"_kj, folder).ignoreResult();
}

kj::Promise<void> Helpers::sync(int folder) {
  return runOnFolder("sync"_kj, folder).ignoreResult();
}

kj::Promise<Usage> Helpers::measure(int folder) {
  auto report = co_await runOnFolder("measure"_kj, folder);
  auto numbers = parseOk("measure", report);
  co_return Usage{.bytes = numbers.second, .inodes = numbers.first};
}

kj::Promise<Helpers::Unpacked> Helpers::unpack(int blob, kj::StringPtr mediaType, int folder) {
  using Descriptor = Command::Descriptor;
  Pipe tar = makePipe();
  Pipe hashedTar = makePipe();
  auto decompressing = run(kj::arr("decompress"_kj, mediaType),
                           kj::arr(Descriptor{0, blob}, Descriptor{1, tar.writeEnd.get()}), 3);
  auto hashing =
      run(kj::arr("hash"_kj),
          kj::arr(Descriptor{0, tar.readEnd.get()}, Descriptor{1, hashedTar.writeEnd.get()}), 3);
  auto unpacking = run(kj::arr("unpack"_kj),
                       kj::arr(Descriptor{0, hashedTar.readEnd.get()}, Descriptor{3, folder}), 4);
  // Only the processes hold the pipes now: each sees the end of its neighbour.
  tar = {};
  hashedTar = {};

  kj::Vector<Outcome> outcomes(3);
  outcomes.add(co_await decompressing);
  outcomes.add(co_await hashing);
  outcomes.add(co_await unpacking);
  const kj::StringPtr modes[] = {"decompress"_kj, "hash"_kj, "unpack"_kj};
  requirePipeline(modes, outcomes);
  auto numbers = parseOk("unpack", outcomes[2].report);
  co_return Unpacked{.diffId = parseHashed(outcomes[1].report).digest,
                     .entries = numbers.first,
                     .bytes = numbers.second};
}

}  // namespace belay::snapshot
