// The configuration: defaults, files, drop-ins, flags, and what is said of mistakes in them.
#include "supervisor/config/config.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "supervisor/config/command-line.h"
#include "supervisor/config/ip-endpoint.h"
#include "supervisor/config/toml-file.h"
#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;
using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() : folder(kj::str(::testing::TempDir(), "/config-XXXXXX")) {
    KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
    auto dropIns = kj::str(folder, "/conf.d");
    mkdir(dropIns.cStr(), 0700);
  }
  ~ConfigTest() noexcept override = default;

  kj::String folder;

  kj::String write(kj::StringPtr name, kj::StringPtr text) {
    auto path = kj::str(folder, "/", name);
    kj::AutoCloseFd file(open(path.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    kj::FdOutputStream(file.get()).write(text.begin(), text.size());
    return path;
  }

  CommandLine parse(std::vector<std::string> words) {
    std::vector<const char*> argv = {"belayd"};
    for (auto& word : words)
      argv.push_back(word.c_str());
    return parseCommandLine(argv.size(), argv.data(), "/opt/belay/bin", "1.2.3");
  }
  // With a configuration file of this text, and more words.
  CommandLine parseFile(kj::StringPtr text, std::vector<std::string> words = {}) {
    auto path = write("config.toml", text);
    words.insert(words.begin(), {"--config", path.cStr()});
    return parse(words);
  }
};

TEST_F(ConfigTest, DefaultsDependOnWhereTheExecutableLies) {
  auto config = parseFile("").config;
  EXPECT_EQ(config.root, "/var/lib/belay");
  EXPECT_EQ(config.listen, "unix:///run/belay/belay.sock");
  EXPECT_EQ(config.socketPath(), "/run/belay/belay.sock");
  EXPECT_EQ(config.shimPath, "/opt/belay/bin/belay-shim");
  EXPECT_EQ(config.pullPath, "/opt/belay/bin/belay-pull");
  EXPECT_EQ(config.cniBinDirs.size(), 2u);
  EXPECT_TRUE(config.handler("") != nullptr);
  EXPECT_TRUE(config.handler("belay") != nullptr);
  EXPECT_TRUE(config.handler("kata") == nullptr);
}

TEST_F(ConfigTest, StreamingIsOnLoopbackUnlessItIsSet) {
  auto config = parseFile("").config;
  EXPECT_EQ(config.streamingAddress, "127.0.0.1:0");
  EXPECT_EQ(config.streamingTlsCert, "");
  EXPECT_EQ(config.streamingIdleTimeout, 4 * kj::HOURS);
  EXPECT_EQ(config.sessionPath, "/opt/belay/bin/belay-session");
  config = parseFile("[streaming]\naddress = '[::]:10010'\ntls_cert = '/c'\ntls_key = '/k'").config;
  EXPECT_EQ(config.streamingAddress, "[::]:10010");
  EXPECT_EQ(config.streamingTlsKey, "/k");
  expectFailure(Code::INVALID_ARGUMENT, "belong together",
                [&] { parseFile("[streaming]\ntls_cert = '/c'"); });
}

TEST_F(ConfigTest, EndpointsAreAddressesWithPorts) {
  auto url = [](kj::StringPtr text) {
    return KJ_REQUIRE_NONNULL(IpEndpoint::tryParse(text)).forLocalUrl();
  };
  EXPECT_EQ(url("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(url("[::1]:65535"), "[::1]:65535");
  EXPECT_EQ(url("10.1.2.3:0"), "10.1.2.3:0");
  EXPECT_EQ(url("0.0.0.0:1"), "127.0.0.1:1");
  EXPECT_EQ(url("[::]:1"), "[::1]:1");
  for (auto bad : {"", ":80", "127.0.0.1", "127.0.0.1:", "localhost:80", "::1:80", "[::1]",
                   "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1x", "[127.0.0.1]:80"}) {
    EXPECT_TRUE(IpEndpoint::tryParse(bad) == nullptr) << bad;
  }
  EXPECT_TRUE(KJ_REQUIRE_NONNULL(IpEndpoint::tryParse("127.9.9.9:0")).isLoopback());
  EXPECT_FALSE(KJ_REQUIRE_NONNULL(IpEndpoint::tryParse("[::]:0")).isLoopback());
}

TEST_F(ConfigTest, SocketLiesBelowStateUnlessItIsSet) {
  EXPECT_EQ(parseFile("", {"--state", "/tmp/b/"}).config.listen, "unix:///tmp/b/belay.sock");
  EXPECT_EQ(parseFile("", {"--listen", "unix:///x.sock"}).config.socketPath(), "/x.sock");
}

TEST_F(ConfigTest, DropInsBeatTheFileInTheirOrderAndFlagsBeatBoth) {
  write("conf.d/20.toml", "root = '/twenty'\nlog_level = 'debug'");
  write("conf.d/10.toml", "root = '/ten'\nstate = '/ten'");
  write("conf.d/30.toml.bak", "root = '/backup'");
  auto config =
      parseFile("root = '/file'\nstate = '/file'\nlog_level = 'error'", {"--log-level=warning"})
          .config;
  EXPECT_EQ(config.root, "/twenty");
  EXPECT_EQ(config.state, "/ten");
  EXPECT_EQ(config.logLevel, LogLevel::WARNING);
}

TEST_F(ConfigTest, EveryKindOfValueIsRead) {
  auto config = parseFile(R"(
    [cni]
    bin_dirs = ["/a", "/b/"]
    plugin_timeout_seconds = 5
    [containers]
    seccomp_by_default = true
    shm_bytes = 1048576
    [runtime_handlers.fast]
    engine = "builtin"
  )")
                    .config;
  EXPECT_EQ(config.cniBinDirs[1], "/b");
  EXPECT_EQ(config.cniPluginTimeout, 5 * kj::SECONDS);
  EXPECT_TRUE(config.seccompByDefault);
  EXPECT_EQ(config.shmBytes, 1u << 20);
  EXPECT_TRUE(config.handler("fast") != nullptr);
  EXPECT_TRUE(config.handler("belay") != nullptr);
}

TEST_F(ConfigTest, FlagsOfListsRepeat) {
  auto config = parseFile("", {"--cni-bin-dir=/a", "--cni-bin-dir", "/b"}).config;
  ASSERT_EQ(config.cniBinDirs.size(), 2u);
  EXPECT_EQ(config.cniBinDirs[1], "/b");
  expectFailure(Code::INVALID_ARGUMENT, "--root is given more than once",
                [&] { parseFile("", {"--root=/a", "--root=/b"}); });
}

TEST_F(ConfigTest, DumpReadAgainIsTheSame) {
  auto first = parseFile("cgroup_driver = 'systemd'",
                         {"--root", "/r", "--cni-bin-dir", "/p", "--listen", "unix:///l"});
  auto text = dump(first.config);
  auto second = parseFile(text);
  EXPECT_EQ(dump(second.config), text);
  EXPECT_EQ(second.config.root, "/r");
  EXPECT_EQ(second.config.cgroupDriver, CgroupDriver::SYSTEMD);
}

TEST_F(ConfigTest, MistakesAreNamedByFileLineAndKey) {
  struct {
    const char *text, *sentence;
  } cases[] = {
      {"root = '/a'\nrot = '/b'", "config.toml:2: unknown key \"rot\""},
      {"[cni]\nconf = '/b'", "config.toml:2: unknown key \"conf\" in [cni]"},
      {"\n[nothing]\n", "config.toml:2: there is no section [nothing]"},
      {"root = 7", "config.toml:1: root is not a string"},
      {"root = 'here'", "config.toml:1: root is not an absolute path"},
      {"root = '/a/../b'", "config.toml:1: root contains \"/../\""},
      {"listen = 'tcp://1'", "config.toml:1: listen does not begin with unix://"},
      {"log_level = 'loud'", "log_level is none of error, warning, info, debug"},
      {"cgroup_driver = 'v2'", "cgroup_driver is none of cgroupfs, systemd"},
      {"cgroup_root = 'a/../b'", "cgroup_root is not made of letters"},
      {"[cni]\nbin_dirs = []", "cni.bin_dirs is empty"},
      {"[cni]\nbin_dirs = ['/a', 7]", "cni.bin_dirs holds what is no string"},
      {"[cni]\nplugin_timeout_seconds = 0", "is not between 1 and 86400"},
      {"[streaming]\naddress = 'localhost:1'", "is not an IP address and a port"},
      {"[containers]\nseccomp_by_default = 1", "is neither true nor false"},
      {"root = ", "config.toml:1: not TOML"},
      {"[runtime_handlers.x]\nengine = 'runc'", "runtime_handlers.x.engine must be \"builtin\""},
      {"[runtime_handlers.x]\npath = '/x'", "unknown key \"path\" of the runtime handler x"},
      {"default_runtime_handler = 'x'", "there is no [runtime_handlers.x]"},
  };
  for (auto& one : cases) {
    expectFailure(Code::INVALID_ARGUMENT, one.sentence, [&] { parseFile(one.text); });
  }
}

TEST_F(ConfigTest, NamedFileMustExist) {
  expectFailure(Code::INVALID_ARGUMENT, "cannot open the configuration /nowhere/x.toml",
                [&] { parse({"--config", "/nowhere/x.toml"}); });
}

TEST_F(ConfigTest, FlagsThatAreNoneAreNamed) {
  expectFailure(Code::INVALID_ARGUMENT, "nonsense", [&] { parseFile("", {"--nonsense"}); });
  expectFailure(Code::INVALID_ARGUMENT, "--root \"x\" is not an absolute path",
                [&] { parseFile("", {"--root", "x"}); });
}

TEST_F(ConfigTest, CommandsAreTwo) {
  EXPECT_EQ(parseFile("").action, CommandLine::Action::SERVE);
  EXPECT_EQ(parseFile("", {"config", "dump"}).action, CommandLine::Action::CONFIG_DUMP);
  EXPECT_EQ(parseFile("", {"config", "check"}).action, CommandLine::Action::CONFIG_CHECK);
  expectFailure(Code::INVALID_ARGUMENT, "no command \"config eat\"",
                [&] { parseFile("", {"config", "eat"}); });
}

TEST_F(ConfigTest, HelpAndVersionPrint) {
  auto help = parse({"--help"});
  EXPECT_EQ(help.action, CommandLine::Action::PRINT);
  for (auto flag : {"--config", "--root", "--state", "--listen", "--cni-conf-dir", "--cni-bin-dir",
                    "--registry-config", "--log-level"}) {
    EXPECT_THAT(std::string(help.text.cStr()), HasSubstr(flag));
  }
  EXPECT_EQ(parse({"--version"}).text, "belayd 1.2.3\n");
}

}  // namespace
}  // namespace belay::supervisor
