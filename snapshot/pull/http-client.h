// HTTP for `belay-pull fetch`: libcurl's multi interface on the KJ event loop. One thread; several
// transfers at once; each answer is bounded and watched for stalls. It follows no redirects and
// knows no credentials: registry-host.h decides about both.
#pragma once

#include <curl/curl.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/string.h>
#include <kj/timer.h>
#include <kj/vector.h>

namespace belay::snapshot {

struct HttpHeader {
  kj::String name;
  kj::String value;
};

// Whom to trust and how to present oneself (PEM texts). Lives longer than the requests it is used
// in.
struct TlsSettings {
  kj::String authorities;  // in addition to the system's; empty: those alone
  kj::String clientCertificate;
  kj::String clientKey;
  bool verify = true;
};

enum class HttpMethod { GET, HEAD, POST };

struct HttpRequest {
  HttpMethod method = HttpMethod::GET;
  kj::String url;  // http or https
  kj::Vector<HttpHeader> headers;
  kj::String form;  // POST: the urlencoded body
  const TlsSettings* tls = nullptr;
  bool presentCertificate = true;
  kj::Duration dialTimeout = 30 * kj::SECONDS;
  kj::Duration stallTimeout = 60 * kj::SECONDS;
};

struct HttpResponse {
  unsigned status = 0;
  kj::Vector<HttpHeader> headers;
  // Where a 3xx answer points, resolved against the request's URL; null without a Location.
  kj::Maybe<kj::String> redirectUrl;

  // The first header of that name, without regard to case.
  kj::Maybe<kj::StringPtr> header(kj::StringPtr name) const;
};

// Gets an answer's body piece by piece, with its status and headers already known. What it throws
// ends the transfer and comes out of send().
using BodySink = kj::Function<void(const HttpResponse& head, kj::ArrayPtr<const kj::byte> piece)>;

class HttpClient {
 public:
  // Headers of one answer, all together.
  static constexpr size_t MAX_HEADER_BYTES = 256 * 1024;

  // Both must outlive the client.
  HttpClient(kj::UnixEventPort& port, kj::Timer& timer);
  ~HttpClient() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(HttpClient);

  // Sends `request` and resolves when the whole answer has gone through `sink`, whatever its
  // status. Throws a pull error UNAVAILABLE when there is no answer or it breaks off, TIMED_OUT
  // when no byte came for stallTimeout. Dropping the promise ends the transfer. The client must
  // outlive it.
  kj::Promise<HttpResponse> send(HttpRequest request, BodySink sink);

 private:
  class Transfer;

  static int onSocket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int onTimer(CURLM* multi, long timeoutMs, void* self);

  kj::Promise<void> run();
  bool serveSockets();
  void serveTimer();
  void finishTransfers();
  void wakeUp();

  kj::Timer& timer;
  CURLM* multi;
  // curl wants to hear of a socket for as long as it is ready; KJ tells of changes only. So curl's
  // sockets live in an epoll set of their own, which is asked until it is silent, and KJ watches
  // it.
  kj::AutoCloseFd sockets;
  kj::UnixEventPort::FdObserver socketsObserver;
  kj::Maybe<kj::TimePoint> deadline;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;
  kj::Promise<void> running;
};

}  // namespace belay::snapshot
