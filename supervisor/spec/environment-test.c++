// A container's environment: who wins, and what is refused.
#include "supervisor/spec/environment.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class EnvironmentTest : public ::testing::Test {
 protected:
  ~EnvironmentTest() noexcept override = default;

  capnp::MallocMessageBuilder configMessage, imageMessage;
  ContainerConfig::Builder config = configMessage.initRoot<ContainerConfig>();
  snapshot::ImageConfig::Builder image = imageMessage.initRoot<snapshot::ImageConfig>();

  std::vector<std::string> merged(kj::StringPtr hostname = "pod") {
    std::vector<std::string> lines;
    for (auto& line : mergeEnvironment(config, image, hostname)) {
      lines.emplace_back(line.begin(), line.size());
    }
    return lines;
  }

  void setEnv(kj::StringPtr key, kj::StringPtr value) {
    auto env = config.initEnvs(1)[0];
    env.setKey(key);
    env.setValue(value.asBytes());
  }
};

TEST_F(EnvironmentTest, PathAndHostnameAreAlwaysThere) {
  EXPECT_THAT(merged(), ElementsAre(HasSubstr("PATH=/usr/local/sbin:"), "HOSTNAME=pod"));
}

TEST_F(EnvironmentTest, LaterBeatsEarlierAndKeepsThePlace) {
  auto lines = image.initEnv(3);
  lines.set(0, "PATH=/image");
  lines.set(1, "A=image");
  lines.set(2, "HOSTNAME=image");
  setEnv("A", "mine");
  EXPECT_THAT(merged(), ElementsAre("PATH=/image", "A=mine", "HOSTNAME=pod"));
}

TEST_F(EnvironmentTest, TerminalSetsTermUnlessTheImageDoes) {
  EXPECT_THAT(merged(), Not(Contains(HasSubstr("TERM="))));
  config.setTty(true);
  EXPECT_THAT(merged(), Contains("TERM=xterm"));
  image.initEnv(1).set(0, "TERM=vt100");
  EXPECT_THAT(merged(), Contains("TERM=vt100"));
  EXPECT_THAT(merged(), Not(Contains("TERM=xterm")));
}

TEST_F(EnvironmentTest, ValuesMayBeAnyBytesButNul) {
  setEnv("BYTES", "\xff\xfe=\n");
  EXPECT_THAT(merged(), Contains("BYTES=\xff\xfe=\n"));
  setEnv("BYTES", kj::StringPtr("a\0b", 3));
  expectFailure(snapshot::Code::INVALID_ARGUMENT, "envs[0]: contains a NUL byte",
                [&] { merged(); });
}

TEST_F(EnvironmentTest, NamesThatAreNoneAreRefused) {
  setEnv("", "x");
  expectFailure(snapshot::Code::INVALID_ARGUMENT, "envs[0]: the name is empty", [&] { merged(); });
  setEnv("A=B", "x");
  expectFailure(snapshot::Code::INVALID_ARGUMENT, "contains '='", [&] { merged(); });
}

TEST_F(EnvironmentTest, ImageLinesWithoutAValueAreDropped) {
  auto lines = image.initEnv(2);
  lines.set(0, "LONELY");
  lines.set(1, "=x");
  EXPECT_THAT(merged(""), ElementsAre(HasSubstr("PATH=")));
}

}  // namespace
}  // namespace belay::supervisor
