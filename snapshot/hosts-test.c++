// hosts.toml as nodes have it: order, defaults, refusals.
#include "snapshot/hosts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <stdlib.h>

#include "snapshot/failure.h"
#include "snapshot/go-duration.h"
#include "snapshot/sys/file.h"

namespace belay::snapshot {
namespace {

struct HostsTest : public ::testing::Test {
  kj::String folder;
  kj::Array<kj::String> folders;

  HostsTest() {
    folder = kj::str(::testing::TempDir(), "belay-hosts-XXXXXX");
    KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
    folders = kj::arr(kj::str(folder, "/absent"), kj::str(folder));
  }
  ~HostsTest() noexcept override {}

  void write(kj::StringPtr registryFolder, kj::StringPtr name, kj::StringPtr text) {
    auto fd = makeFolders(kj::str(folder, '/', registryFolder), 0755);
    writeNewFile(fd, name, text, 0644);
  }

  kj::Array<RegistryHost> hosts(kj::StringPtr registry) { return hostsFor(registry, folders); }

  std::string refusal(kj::StringPtr toml) {
    static int count = 0;
    auto registry = kj::str("r", ++count, ".example");
    write(registry, "hosts.toml", toml);
    try {
      hosts(registry);
      return "accepted";
    } catch (const kj::Exception& exception) {
      EXPECT_EQ(codeOf(exception), Code::FAILED_PRECONDITION);
      return messageOf(exception).cStr();
    }
  }
};

TEST_F(HostsTest, WithoutConfigurationOnlyLoopbackIsPlain) {
  EXPECT_EQ(hosts("r.example")[0].url, "https://r.example");
  EXPECT_EQ(hosts("r.example:5000")[0].url, "https://r.example:5000");
  EXPECT_EQ(hosts("127.0.0.1:5000")[0].url, "http://127.0.0.1:5000");
  EXPECT_EQ(hosts("localhost:5000")[0].url, "http://localhost:5000");
  EXPECT_EQ(hosts("[::1]:5000")[0].url, "http://[::1]:5000");
  EXPECT_EQ(hosts("localhost")[0].url, "https://localhost");
  EXPECT_EQ(hosts("localhost:443")[0].url, "https://localhost:443");
  EXPECT_FALSE(hosts("docker.io")[0].isMirror);
  EXPECT_NE(hosts("docker.io")[0].url, "https://docker.io");
}

TEST_F(HostsTest, MirrorsComeInTheOrderOfTheLines) {
  write("r.example", "hosts.toml", R"(
server = "https://r.example"
[host."https://zebra.example"]
  capabilities = ["pull", "resolve"]
  skip_verify = true
  dial_timeout = "1m1.5s"
  [host."https://zebra.example".header]
    x-one = ["a", "b"]
[host."http://apple.example:8080/some/path/"]
  capabilities = ["pull"]
  override_path = true
[host."middle.example/v2"]
)");
  auto all = hosts("r.example");
  ASSERT_EQ(all.size(), 4);
  EXPECT_EQ(all[0].url, "https://zebra.example");
  EXPECT_TRUE(all[0].canPull && all[0].canResolve && all[0].skipVerify && all[0].isMirror);
  EXPECT_EQ(all[0].dialTimeoutMs, 61500);
  ASSERT_EQ(all[0].headers.size(), 2);
  EXPECT_EQ(all[0].headers[1].name, "x-one");
  EXPECT_EQ(all[0].headers[1].value, "b");
  EXPECT_EQ(all[1].url, "http://apple.example:8080/some/path");
  EXPECT_TRUE(all[1].canPull && !all[1].canResolve && all[1].overridePath);
  EXPECT_EQ(all[2].url, "https://middle.example/v2");
  EXPECT_TRUE(all[2].overridePath);
  EXPECT_EQ(all[3].url, "https://r.example");
  EXPECT_FALSE(all[3].isMirror);
}

TEST_F(HostsTest, AFolderIsFoundUnderItsThreeNames) {
  write("_default", "hosts.toml", "server = \"https://fallback.example\"");
  EXPECT_EQ(hosts("r.example:5000")[0].url, "https://fallback.example");
  EXPECT_TRUE(hosts("r.example:5000")[0].isMirror);
  write("r.example:5000", "hosts.toml", "server = \"https://colon.example\"");
  EXPECT_EQ(hosts("r.example:5000")[0].url, "https://colon.example");
  write("r.example_5000_", "hosts.toml", "server = \"https://under.example\"");
  EXPECT_EQ(hosts("r.example:5000")[0].url, "https://under.example");
}

TEST_F(HostsTest, WithoutServerTheRegistryItselfComesLast) {
  write("127.0.0.1:5000", "hosts.toml", "[host.\"http://mirror.example\"]");
  auto all = hosts("127.0.0.1:5000");
  ASSERT_EQ(all.size(), 2);
  EXPECT_EQ(all[1].url, "http://127.0.0.1:5000");
  EXPECT_TRUE(all[1].canPull && all[1].canResolve);
}

TEST_F(HostsTest, ReadsCertificatesRelativeToTheFile) {
  write("r.example", "ca.pem", "the CA");
  write("r.example", "client.pem", "the certificate");
  write("r.example", "client.key", "the key");
  write("r.example", "hosts.toml",
        "ca = \"ca.pem\"\nclient = [[\"client.pem\", \"client.key\"]]\n");
  auto all = hosts("r.example");
  ASSERT_EQ(all.size(), 1);
  EXPECT_EQ(all[0].caFiles[0], "the CA");
  EXPECT_EQ(all[0].clientCertificate, "the certificate");
  EXPECT_EQ(all[0].clientKey, "the key");
}

TEST_F(HostsTest, ReadsTheOlderLayout) {
  write("r.example", "b.crt", "B");
  write("r.example", "a.crt", "A");
  write("r.example", "client.cert", "C");
  write("r.example", "client.key", "K");
  auto all = hosts("r.example");
  ASSERT_EQ(all.size(), 1);
  EXPECT_EQ(all[0].url, "https://r.example");
  ASSERT_EQ(all[0].caFiles.size(), 2);
  EXPECT_EQ(all[0].caFiles[0], "A");
  EXPECT_EQ(all[0].clientCertificate, "C");
  EXPECT_EQ(all[0].clientKey, "K");
}

TEST_F(HostsTest, IsReadAtEachCall) {
  EXPECT_EQ(hosts("r.example")[0].url, "https://r.example");
  write("r.example", "hosts.toml", "server = \"http://r.example\"");
  EXPECT_EQ(hosts("r.example")[0].url, "http://r.example");
}

TEST_F(HostsTest, SaysFileLineAndKeyOfAMistake) {
  EXPECT_NE(refusal("server = [").find("/hosts.toml, line 1: "), std::string::npos);
  EXPECT_NE(refusal("\n[host.\"https://a.example\"]\nskip_verify = 1").find("line 3: skip_verify"),
            std::string::npos);
  EXPECT_NE(refusal("capabilities = [\"push\", \"fly\"]").find("\"fly\""), std::string::npos);
  EXPECT_NE(refusal("ca = \"absent.pem\"").find("absent.pem"), std::string::npos);
  EXPECT_NE(refusal("dial_timeout = \"soon\"").find("dial_timeout"), std::string::npos);
  EXPECT_NE(refusal("host = 1").find("host must be"), std::string::npos);
  EXPECT_NE(refusal("server = \"https:///x\"").find("names no host"), std::string::npos);
  EXPECT_NE(refusal("[header]\nx = \"a\\nb\"").find("one line"), std::string::npos);
}

TEST(GoDuration, ReadsWhatGoWrites) {
  auto ms = [](kj::StringPtr text) -> int64_t {
    KJ_IF_MAYBE (value, parseGoDurationMs(text)) {
      return *value;
    }
    return -1;
  };
  EXPECT_EQ(ms("30s"), 30000);
  EXPECT_EQ(ms("1m30s"), 90000);
  EXPECT_EQ(ms("1.5h"), 5400000);
  EXPECT_EQ(ms("250ms"), 250);
  EXPECT_EQ(ms("0"), 0);
  EXPECT_EQ(ms(""), -1);
  EXPECT_EQ(ms("30"), -1);
  EXPECT_EQ(ms("s"), -1);
  EXPECT_EQ(ms("-1s"), -1);
  EXPECT_EQ(ms("999999999999h"), -1);
}

}  // namespace
}  // namespace belay::snapshot
