// What a container runs: the CRI's merging rules, case by case.
#include "supervisor/spec/arguments.h"

#include <capnp/message.h>
#include <signal.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class Arguments : public ::testing::Test {
 protected:
  ~Arguments() noexcept override = default;

  capnp::MallocMessageBuilder configMessage, imageMessage;
  ContainerConfig::Builder config = configMessage.initRoot<ContainerConfig>();
  snapshot::ImageConfig::Builder image = imageMessage.initRoot<snapshot::ImageConfig>();

  void fill(capnp::List<capnp::Text>::Builder list, std::initializer_list<const char*> texts) {
    kj::uint i = 0;
    for (auto text : texts)
      list.set(i++, text);
  }

  std::string merged() {
    return kj::strArray(mergeArguments(config.asReader(), image.asReader()), " ").cStr();
  }
};

TEST_F(Arguments, ImageAloneRunsEntrypointAndCmd) {
  fill(image.initEntrypoint(1), {"/entry"});
  fill(image.initCmd(2), {"a", "b"});
  EXPECT_EQ(merged(), "/entry a b");
}

TEST_F(Arguments, ArgsReplaceCmdAndKeepEntrypoint) {
  fill(image.initEntrypoint(1), {"/entry"});
  fill(image.initCmd(1), {"a"});
  fill(config.initArgs(1), {"x"});
  EXPECT_EQ(merged(), "/entry x");
}

TEST_F(Arguments, CommandDropsEntrypointAndCmd) {
  fill(image.initEntrypoint(1), {"/entry"});
  fill(image.initCmd(1), {"a"});
  fill(config.initCommand(1), {"/mine"});
  EXPECT_EQ(merged(), "/mine");
  fill(config.initArgs(1), {"x"});
  EXPECT_EQ(merged(), "/mine x");
}

TEST_F(Arguments, NothingToRunIsRefused) {
  expectFailure(Code::INVALID_ARGUMENT, "no command specified", [&] { merged(); });
}

TEST_F(Arguments, NulBytesAndEmptyProgramsAreRefused) {
  fill(config.initCommand(1), {""});
  expectFailure(Code::INVALID_ARGUMENT, "command: the program's name is empty", [&] { merged(); });
  config.initCommand(1).set(0, kj::StringPtr("a\0b", 3));
  expectFailure(Code::INVALID_ARGUMENT, "command: contains a NUL byte", [&] { merged(); });
}

TEST_F(Arguments, WorkingDirectoryIsTheContainersThenTheImagesThenRoot) {
  auto directory = [&] { return std::string(workingDirectory(config, image).cStr()); };
  EXPECT_EQ(directory(), "/");
  image.setWorkingDir("srv/app/");
  EXPECT_EQ(directory(), "/srv/app");
  config.setWorkingDir("/tmp/../home");
  EXPECT_EQ(directory(), "/home");
  config.setWorkingDir("home");
  expectFailure(Code::INVALID_ARGUMENT, "working_dir: \"home\" is not an absolute path", directory);
}

TEST_F(Arguments, StopSignalIsTheContainersThenTheImagesThenTerm) {
  EXPECT_EQ(stopSignal(config, image), SIGTERM);
  image.setStopSignal("SIGQUIT");
  EXPECT_EQ(stopSignal(config, image), SIGQUIT);
  config.setStopSignal(SIGUSR1);
  EXPECT_EQ(stopSignal(config, image), SIGUSR1);
  config.setStopSignal(4000);
  expectFailure(Code::INVALID_ARGUMENT, "no signal 4000", [&] { stopSignal(config, image); });
}

TEST_F(Arguments, SignalsAreReadAsImagesWriteThem) {
  auto number = [](kj::StringPtr text) { return parseSignal(text).orDefault(-1); };
  EXPECT_EQ(number("SIGTERM"), SIGTERM);
  EXPECT_EQ(number("term"), SIGTERM);
  EXPECT_EQ(number("15"), 15);
  EXPECT_EQ(number("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(number("RTMAX-1"), SIGRTMAX - 1);
  EXPECT_EQ(number("RTMIN"), SIGRTMIN);
  for (auto wrong :
       {"", "SIG", "0", "65", "SIGNOPE", "RTMIN-1", "RTMAX+1", "RTMIN+x", "RTMIN+99"}) {
    EXPECT_EQ(number(wrong), -1) << wrong;
  }
}

}  // namespace
}  // namespace belay::supervisor
