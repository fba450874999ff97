// belay-session: serves one connection of a streaming client (exec, attach or port-forward) and
// ends with it. belayd starts it (session.capnp says with which descriptors); a person has no use
// for it.
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/compat/tls.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cxxopts.hpp>

#include "criapi/streaming/confine.h"
#include "criapi/streaming/serve.h"
#include "failpoint/failpoint.h"

namespace belay::criapi::streaming {
namespace {

constexpr int CLIENT_FD = 0;
constexpr int DAEMON_FD = 3;
constexpr int CERTIFICATE_FD = 4;
constexpr int KEY_FD = 5;

// Certificate chains are a few KiB.
constexpr uint64_t MAX_PEM_BYTES = 1 << 20;

kj::String readPem(int fd) {
  return kj::FdInputStream(kj::AutoCloseFd(fd)).readAllText(MAX_PEM_BYTES);
}

// Descriptors 4 and 5 are there if the connection is to be TLS. Before anything else takes their
// numbers.
kj::Maybe<kj::Own<kj::TlsContext>> makeTls() {
  if (fcntl(CERTIFICATE_FD, F_GETFD) < 0) return nullptr;
  kj::TlsKeypair pair{kj::TlsPrivateKey(readPem(KEY_FD)),
                      kj::TlsCertificate(readPem(CERTIFICATE_FD))};
  kj::TlsContext::Options options;
  options.useSystemTrustStore = false;
  options.minVersion = kj::TlsVersion::TLS_1_2;
  options.defaultKeypair = pair;
  return kj::heap<kj::TlsContext>(kj::mv(options));
}

void setOption(int level, int name, int value) {
  // Fails on what is no TCP socket.
  setsockopt(CLIENT_FD, level, name, &value, sizeof(value));
}

// A client that vanishes without a word is noticed within two minutes, and a keystroke's echo waits
// for nothing.
void prepareSocket() {
  setOption(SOL_SOCKET, SO_KEEPALIVE, 1);
  setOption(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  setOption(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  setOption(IPPROTO_TCP, TCP_KEEPCNT, 4);
  setOption(IPPROTO_TCP, TCP_NODELAY, 1);
}

// OpenSSL reads its configuration when it is first used.
void prepareCrypto() {
  kj::byte hash[SHA_DIGEST_LENGTH];
  SHA1(hash, 0, hash);
}

kj::Promise<kj::Own<kj::AsyncIoStream>> acceptTls(kj::Maybe<kj::Own<kj::TlsContext>>& tls,
                                                  kj::Own<kj::AsyncIoStream> client,
                                                  kj::Timer& timer, kj::Duration limit) {
  KJ_IF_MAYBE (context, tls) {
    return timer.timeoutAfter(limit, (*context)->wrapServer(kj::mv(client)));
  }
  return kj::mv(client);
}

void run(const SessionSettings& settings) {
  auto tls = makeTls();
  prepareSocket();
  prepareCrypto();
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  auto connection = io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(CLIENT_FD));
  kj::AutoCloseFd daemon(DAEMON_FD);
  confine();

  kj::Own<kj::AsyncIoStream> client;
  try {
    client = acceptTls(tls, kj::mv(connection), timer, settings.headTimeout).wait(io.waitScope);
  } catch (const kj::Exception& exception) {
    // Anybody may connect and speak no TLS: nobody to tell, and no news.
    return;
  }
  serve(io.unixEventPort, timer, kj::mv(client), kj::mv(daemon), settings).wait(io.waitScope);
}

}  // namespace
}  // namespace belay::criapi::streaming

int main(int argc, char** argv) {
  using namespace belay::criapi::streaming;
  cxxopts::Options options("belay-session",
                           "Serves one streaming connection; belayd starts it with descriptors "
                           "prepared. It is of no use by hand.");
  options.add_options()("idle-timeout", "seconds without any stream's bytes before it ends",
                        cxxopts::value<uint32_t>()->default_value("14400"));
  int status = 1;
  try {
    auto flags = options.parse(argc, argv);
    belay::failpoint::readEnvironment("session.");
    SessionSettings settings;
    settings.idleTimeout = flags["idle-timeout"].as<uint32_t>() * kj::SECONDS;
    run(settings);
    status = 0;
  } catch (const cxxopts::exceptions::exception& error) {
    fprintf(stderr, "belay-session: %s\n", error.what());
    status = 2;
  } catch (...) {
    fprintf(stderr, "belay-session: %s\n", kj::str(kj::getCaughtExceptionAsKj()).cStr());
  }
  fflush(nullptr);
  // No exit handlers: the libraries' clean-up makes system calls that the filter refuses.
  _exit(status);
}
