// Stands in for belayd in the tests of belay-pull: starts it, serves the Ingest capability over a
// folder, and prints what came of it as JSON.
//
//   ingest-driver BELAY_PULL MODE FOLDER [ARCHIVE] < request.json
//
// The request is a PullRequest (pull.capnp) in Cap'n Proto's JSON. Blobs become FOLDER/HEX, partial
// ones FOLDER/HEX.partial. Prints {"image": ...} or {"code": ..., "message": ...}, or {"died":
// STATUS}.
#include <capnp/compat/json.h>
#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "snapshot/digest.h"
#include "snapshot/pull.capnp.h"

namespace {

using namespace belay::snapshot;

kj::AutoCloseFd openFile(const std::string& path, int flags) {
  int fd;
  KJ_SYSCALL(fd = open(path.c_str(), flags | O_CLOEXEC, 0644), path.c_str());
  return kj::AutoCloseFd(fd);
}

class FileServer final : public File::Server {
 public:
  explicit FileServer(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

 private:
  kj::AutoCloseFd fd;
};

class IngestServer final : public Ingest::Server {
 public:
  IngestServer(std::string folder, PullRequest::Reader request, std::string archive)
      : folder(std::move(folder)), pullRequest(request), archive(std::move(archive)) {}

  nlohmann::json result;

 private:
  kj::Promise<void> request(RequestContext context) override {
    context.getResults().setRequest(pullRequest);
    if (!archive.empty()) {
      context.getResults().setArchive(kj::heap<FileServer>(openFile(archive, O_RDONLY)));
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> blob(BlobContext context) override {
    auto path = pathOf(context.getParams().getDigest());
    auto results = context.getResults();
    if (access(path.c_str(), F_OK) == 0) {
      results.setPresent(true);
      results.setFile(kj::heap<FileServer>(openFile(path, O_RDONLY)));
      return kj::READY_NOW;
    }
    auto file = openFile(path + ".partial", O_WRONLY | O_CREAT);
    struct stat status;
    KJ_SYSCALL(fstat(file, &status));
    results.setOffsetBytes(status.st_size);
    results.setFile(kj::heap<FileServer>(kj::mv(file)));
    return kj::READY_NOW;
  }

  kj::Promise<void> blobDone(BlobDoneContext context) override {
    auto digest = context.getParams().getDigest();
    auto path = pathOf(digest);
    auto partial = path + ".partial";
    auto bytes = kj::FdInputStream(openFile(partial, O_RDONLY)).readAllBytes();
    if (Digest::of(bytes).text() != digest) {
      KJ_SYSCALL(unlink(partial.c_str()));
      KJ_FAIL_REQUIRE("the digest differs");
    }
    KJ_SYSCALL(rename(partial.c_str(), path.c_str()));
    context.getResults().setFile(kj::heap<FileServer>(openFile(path, O_RDONLY)));
    return kj::READY_NOW;
  }

  kj::Promise<void> plan(PlanContext context) override {
    KJ_REQUIRE(!result.contains("planned"), "planned twice");
    result["planned"] = context.getParams().getImage().getId().cStr();
    return kj::READY_NOW;
  }

  kj::Promise<void> complete(CompleteContext context) override {
    capnp::JsonCodec codec;
    auto image = context.getParams().getImage();
    result["image"] = nlohmann::json::parse(codec.encode(image).cStr());
    // As text: the codec writes Data as a list of numbers.
    auto config = image.getConfigJson().asChars();
    result["image"]["configJson"] = std::string(config.begin(), config.end());
    return kj::READY_NOW;
  }

  kj::Promise<void> failed(FailedContext context) override {
    result["code"] = kj::str(context.getParams().getCode()).cStr();
    result["message"] = context.getParams().getMessage().cStr();
    return kj::READY_NOW;
  }

  kj::Promise<void> progress(ProgressContext context) override {
    uint64_t sum = result.value("progress", uint64_t{0}) + context.getParams().getBytes();
    result["progress"] = sum;
    return kj::READY_NOW;
  }

  std::string pathOf(kj::StringPtr digest) {
    return folder + "/" + Digest::parse(digest, "blob").hex().cStr();
  }

  std::string folder;
  PullRequest::Reader pullRequest;
  std::string archive;
};

pid_t start(char* program, char* mode, int socket) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, 3);
  char* argv[] = {program, mode, nullptr};
  pid_t child;
  int error = posix_spawn(&child, program, &actions, nullptr, argv, environ);
  KJ_REQUIRE(error == 0, program, strerror(error));
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: ingest-driver BELAY_PULL MODE FOLDER [ARCHIVE] < request.json\n");
    return 2;
  }
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  capnp::MallocMessageBuilder message;
  auto request = message.initRoot<PullRequest>();
  capnp::JsonCodec().decode(kj::arrayPtr(text.data(), text.size()), request);

  int ends[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  // Above the number that the child's end gets, or dup2 would leave it close-on-exec.
  int socket;
  KJ_SYSCALL(socket = fcntl(ends[1], F_DUPFD_CLOEXEC, 10));
  close(ends[1]);
  pid_t child = start(argv[1], argv[2], socket);
  close(socket);

  auto io = kj::setupAsyncIo();
  auto stream = io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(ends[0]));
  auto server = kj::heap<IngestServer>(argv[3], request.asReader(), argc > 4 ? argv[4] : "");
  auto& result = server->result;
  capnp::TwoPartyServer rpc(kj::mv(server));
  rpc.accept(*stream, 2).wait(io.waitScope);

  int status;
  KJ_SYSCALL(waitpid(child, &status, 0));
  if (!result.contains("image") && !result.contains("code")) result["died"] = status;
  puts(result.dump().c_str());
  return 0;
}
