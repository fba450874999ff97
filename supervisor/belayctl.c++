// belayctl: what a person at the node asks of belayd, over its admin socket (admin.capnp).
#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "supervisor/admin.capnp.h"
#include "supervisor/crictl-json.h"
#include "supervisor/remote-failure.h"
#include "supervisor/text-file.h"
#include "supervisor/unix-socket.h"
#include "supervisor/version.h"

namespace belay::supervisor {
namespace {

constexpr uint MAX_FDS_PER_MESSAGE = 4;
constexpr size_t MAX_FILE_BYTES = 1 << 20;
constexpr size_t SHORT_ID = 13;  // as crictl shows them

constexpr const char* USAGE = R"(usage: belayctl [--state DIR] COMMAND [ARGUMENT...]

  version                             of belayctl and of the belayd that answers
  operations                          what belayd is doing now, and for how long
  shim upgrade --all | POD...         has each pod's shim execute the new belay-shim in its place
  debug failpoints [--pod ID]         of belayd, or of a pod's shim
  debug failpoint NAME ACTION [--pod ID]
                                      ACTION: off, kill, fail or delay:MILLISECONDS, with *TIMES
                                      and @PASS after it; names of other programs' failpoints are
                                      for those that belayd starts from then on
  image load FILE [--tag NAME]        an OCI image layout in a tar file
  image pull REFERENCE
  image ls
  image remove IMAGE
  pod run FILE [--handler NAME]       FILE: a PodSandboxConfig as for crictl runp; prints the id
  pod ls
  pod stop ID
  pod remove ID
  container create POD FILE           FILE: a ContainerConfig as for crictl create; prints the id
  container start ID
  container stop ID [--timeout SECONDS]
  container remove ID
  container ls
  container exec ID COMMAND...        ends with the command's exit code

--state is the folder that belayd was given (default /run/belay). Ids may be shortened.
)";

// Keeps a descriptor open until it has been sent.
class FileServer final : public File::Server {
 public:
  explicit FileServer(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

 private:
  kj::AutoCloseFd fd;
};

[[noreturn]] void failUsage(kj::StringPtr reason) {
  snapshot::fail(snapshot::Code::INVALID_ARGUMENT, reason, "; see belayctl --help");
}

// The command's words, taken one after the other.
class Words {
 public:
  explicit Words(kj::Array<kj::String> all) : words(kj::mv(all)) {}

  kj::StringPtr next(kj::StringPtr what) {
    if (at == words.size()) failUsage(kj::str(what, " is missing"));
    return words[at++];
  }
  // The value of an option, if it comes next.
  kj::Maybe<kj::StringPtr> option(kj::StringPtr name) {
    if (!isNext(name)) return nullptr;
    ++at;
    return next(kj::str("the value of ", name));
  }
  // Whether a word without a value comes next.
  bool flag(kj::StringPtr name) {
    if (!isNext(name)) return false;
    ++at;
    return true;
  }
  bool hasNext() const { return at < words.size(); }
  bool isNext(kj::StringPtr word) const { return hasNext() && words[at] == word; }
  void end() {
    if (hasNext()) failUsage(kj::str("'", words[at], "' is one word too many"));
  }

 private:
  kj::Array<kj::String> words;
  size_t at = 0;
};

kj::String shortened(kj::StringPtr id) {
  if (id.startsWith("sha256:")) id = id.slice(7);
  return id.size() > SHORT_ID ? kj::heapString(id.slice(0, SHORT_ID)) : kj::str(id);
}

// Copies what a memory file holds.
void copyOut(kj::Maybe<int> received, int to) {
  KJ_IF_MAYBE (file, received) {
    char buffer[65536];
    for (off_t offset = 0;;) {
      ssize_t count;
      KJ_SYSCALL(count = pread(*file, buffer, sizeof(buffer), offset));
      if (count == 0) return;
      kj::FdOutputStream(to).write(buffer, count);
      offset += count;
    }
  }
}

class Session {
 public:
  explicit Session(kj::StringPtr state)
      : io(kj::setupAsyncIo()),
        stream(io.lowLevelProvider->wrapUnixSocketFd(
            connectToUnixSocket(kj::str(state, "/admin.sock")))),
        network(*stream, MAX_FDS_PER_MESSAGE, capnp::rpc::twoparty::Side::CLIENT),
        rpc(capnp::makeRpcClient(network)),
        admin(bootstrap()) {}

  // The exit code.
  int run(Words& words);

 private:
  kj::AsyncIoContext io;
  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  Admin::Client admin;

  struct Command {
    const char* noun;
    const char* verb;
    int (Session::*run)(Words&);
  };
  static const Command COMMANDS[];

  Admin::Client bootstrap() {
    capnp::MallocMessageBuilder message;
    auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
    vat.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc.bootstrap(vat).castAs<Admin>();
  }

  template <typename Request>
  auto answer(Request&& request) {
    return request.send().wait(io.waitScope);
  }

  // A call whose only argument is an id.
  template <typename Request>
  int callWithId(Request&& request, Words& words) {
    request.setId(words.next("the id"));
    words.end();
    answer(request);
    return 0;
  }

  int version(Words& words) {
    words.end();
    auto answered = answer(admin.versionRequest());
    printf("belayctl %s\nbelayd %s\n", VERSION_TEXT, answered.getVersion().cStr());
    return 0;
  }

  int operations(Words& words) {
    words.end();
    auto answered = answer(admin.operationsRequest());
    for (auto operation : answered.getOperations()) {
      printf("%8.1f s  %s: %s (for %.1f s)\n", operation.getRunningMs() / 1000.0,
             operation.getName().cStr(), operation.getStage().cStr(),
             operation.getInStageMs() / 1000.0);
    }
    return 0;
  }

  int shimUpgrade(Words& words) {
    auto request = admin.upgradeShimsRequest();
    kj::Vector<kj::StringPtr> pods;
    if (!words.flag("--all")) {
      do {
        pods.add(words.next("the pod's id, or --all"));
      } while (words.hasNext());
    }
    words.end();
    auto list = request.initPodIds(pods.size());
    for (size_t i = 0; i < pods.size(); ++i)
      list.set(i, pods[i]);
    auto answered = answer(request);
    int status = 0;
    for (auto result : answered.getResults()) {
      auto pod = shortened(result.getPodId());
      if (result.isGeneration()) {
        printf("%s replaced (%u)\n", pod.cStr(), result.getGeneration());
      } else {
        printf("%s as it was: %s\n", pod.cStr(), result.getFailure().cStr());
        status = 1;
      }
    }
    return status;
  }

  int debugFailpoints(Words& words) {
    auto request = admin.debugRequest();
    KJ_IF_MAYBE (pod, words.option("--pod")) {
      request.setPodId(*pod);
    }
    words.end();
    auto answered = answer(request);
    printf("%-54s %-12s %s\n", "FAILPOINT", "ACTION", "PASSES");
    for (auto point : answered.getFailpoints()) {
      printf("%-54s %-12s %u\n", point.getName().cStr(), point.getAction().cStr(),
             point.getPasses());
    }
    return 0;
  }

  int debugFailpoint(Words& words) {
    auto request = admin.debugRequest();
    request.setFailpoint(words.next("the failpoint's name"));
    request.setAction(words.next("the action"));
    KJ_IF_MAYBE (pod, words.option("--pod")) {
      request.setPodId(*pod);
    }
    words.end();
    answer(request);
    return 0;
  }

  int imageLoad(Words& words) {
    auto path = words.next("the archive's file");
    auto tag = words.option("--tag");
    words.end();
    int fd;
    KJ_SYSCALL_HANDLE_ERRORS(fd = open(path.cStr(), O_RDONLY | O_CLOEXEC)) {
      default:
        snapshot::fail(snapshot::Code::NOT_FOUND, "cannot open ", path, ": ", strerror(error));
    }
    auto request = admin.loadImageRequest();
    request.setArchive(kj::heap<FileServer>(kj::AutoCloseFd(fd)));
    KJ_IF_MAYBE (name, tag) {
      request.setTag(*name);
    }
    puts(answer(request).getId().cStr());
    return 0;
  }

  int imagePull(Words& words) {
    auto request = admin.pullImageRequest();
    request.setReference(words.next("the image's reference"));
    words.end();
    puts(answer(request).getId().cStr());
    return 0;
  }

  int imageList(Words& words) {
    words.end();
    auto answered = answer(admin.imagesRequest());
    printf("%-15s %12s  %s\n", "IMAGE", "BYTES", "NAMES");
    for (auto image : answered.getImages()) {
      auto names = image.getRepoTags().size() > 0 ? image.getRepoTags() : image.getRepoDigests();
      printf("%-15s %12llu  %s\n", shortened(image.getId()).cStr(),
             static_cast<unsigned long long>(image.getSizeBytes()),
             kj::strArray(names, " ").cStr());
    }
    return 0;
  }

  int imageRemove(Words& words) {
    auto request = admin.removeImageRequest();
    request.setReference(words.next("the image"));
    words.end();
    answer(request);
    return 0;
  }

  int podRun(Words& words) {
    auto config = podConfigFromJson(readTextFile(words.next("the pod's file"), MAX_FILE_BYTES));
    auto request = admin.runPodRequest();
    request.setConfig(config.get());
    KJ_IF_MAYBE (handler, words.option("--handler")) {
      request.setHandler(*handler);
    }
    words.end();
    puts(answer(request).getId().cStr());
    return 0;
  }

  int podList(Words& words) {
    words.end();
    auto answered = answer(admin.podsRequest());
    printf("%-15s %-9s %-20s %s\n", "POD", "STATE", "NAMESPACE", "NAME");
    for (auto pod : answered.getPods()) {
      auto config = pod.getRecord().getConfig();
      printf("%-15s %-9s %-20s %s\n", shortened(pod.getRecord().getId()).cStr(),
             pod.getReady() ? "ready" : "not ready", config.getNamespace().cStr(),
             config.getName().cStr());
    }
    return 0;
  }

  int podStop(Words& words) { return callWithId(admin.stopPodRequest(), words); }
  int podRemove(Words& words) { return callWithId(admin.removePodRequest(), words); }

  int containerCreate(Words& words) {
    auto request = admin.createContainerRequest();
    request.setPodId(words.next("the pod's id"));
    auto path = words.next("the container's file");
    words.end();
    auto config = containerConfigFromJson(readTextFile(path, MAX_FILE_BYTES));
    request.setConfig(config.get());
    puts(answer(request).getId().cStr());
    return 0;
  }

  int containerStart(Words& words) { return callWithId(admin.startContainerRequest(), words); }
  int containerRemove(Words& words) { return callWithId(admin.removeContainerRequest(), words); }

  int containerStop(Words& words) {
    auto request = admin.stopContainerRequest();
    request.setId(words.next("the id"));
    KJ_IF_MAYBE (seconds, words.option("--timeout")) {
      KJ_IF_MAYBE (number, seconds->tryParseAs<int64_t>()) {
        request.setTimeoutSeconds(*number);
      } else {
        failUsage("--timeout wants a number of seconds");
      }
    }
    words.end();
    answer(request);
    return 0;
  }

  int containerList(Words& words) {
    words.end();
    constexpr const char* STATES[] = {"created", "running", "exited", "unknown"};
    auto answered = answer(admin.containersRequest());
    printf("%-15s %-8s %5s %-15s %s\n", "CONTAINER", "STATE", "CODE", "POD", "NAME");
    for (auto container : answered.getContainers()) {
      auto record = container.getRecord();
      auto exited = container.getState() == ContainerSummary::State::EXITED;
      auto code = exited ? kj::str(record.getLast().getExit().getCode()) : kj::str("-");
      auto state = static_cast<size_t>(container.getState());
      printf("%-15s %-8s %5s %-15s %s\n", shortened(record.getId()).cStr(),
             state < kj::size(STATES) ? STATES[state] : "unknown", code.cStr(),
             shortened(record.getPodId()).cStr(), record.getConfig().getName().cStr());
    }
    return 0;
  }

  int containerExec(Words& words) {
    auto request = admin.execRequest();
    request.setId(words.next("the id"));
    kj::Vector<kj::StringPtr> command;
    do {
      command.add(words.next("the command"));
    } while (words.hasNext());
    auto list = request.initCommand(command.size());
    for (size_t i = 0; i < command.size(); ++i)
      list.set(i, command[i]);
    auto answered = answer(request);
    copyOut(answered.getOutput().getFd().wait(io.waitScope), STDOUT_FILENO);
    copyOut(answered.getErrors().getFd().wait(io.waitScope), STDERR_FILENO);
    return answered.getExitCode();
  }
};

const Session::Command Session::COMMANDS[] = {
    {"shim", "upgrade", &Session::shimUpgrade},
    {"debug", "failpoints", &Session::debugFailpoints},
    {"debug", "failpoint", &Session::debugFailpoint},
    {"image", "load", &Session::imageLoad},
    {"image", "pull", &Session::imagePull},
    {"image", "ls", &Session::imageList},
    {"image", "remove", &Session::imageRemove},
    {"pod", "run", &Session::podRun},
    {"pod", "ls", &Session::podList},
    {"pod", "stop", &Session::podStop},
    {"pod", "remove", &Session::podRemove},
    {"container", "create", &Session::containerCreate},
    {"container", "start", &Session::containerStart},
    {"container", "stop", &Session::containerStop},
    {"container", "remove", &Session::containerRemove},
    {"container", "ls", &Session::containerList},
    {"container", "exec", &Session::containerExec},
};

int Session::run(Words& words) {
  auto noun = words.next("the command");
  if (noun == "version") return version(words);
  if (noun == "operations") return operations(words);
  auto verb = words.next(kj::str("what to do with the ", noun));
  for (auto& command : COMMANDS) {
    if (noun == command.noun && verb == command.verb) return (this->*command.run)(words);
  }
  failUsage(kj::str("there is no command '", noun, ' ', verb, "'"));
}

int run(int argc, char** argv) {
  kj::Vector<kj::String> rest;
  for (int i = 1; i < argc; ++i)
    rest.add(kj::str(static_cast<const char*>(argv[i])));
  Words words(rest.releaseAsArray());
  if (!words.hasNext() || words.isNext("--help") || words.isNext("help")) {
    fputs(USAGE, words.hasNext() ? stdout : stderr);
    return words.hasNext() ? 0 : 2;
  }
  auto state = words.option("--state").orDefault("/run/belay");
  return Session(state).run(words);
}

}  // namespace
}  // namespace belay::supervisor

int main(int argc, char** argv) {
  int status = 1;
  KJ_IF_MAYBE (failure,
               kj::runCatchingExceptions([&] { status = belay::supervisor::run(argc, argv); })) {
    fprintf(stderr, "belayctl: %s\n", belay::supervisor::sentenceOf(*failure).cStr());
  }
  return status;
}
