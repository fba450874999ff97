// See registry-host.h.
#include "snapshot/pull/registry-host.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <strings.h>

#include "snapshot/pull/challenge.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/registry-error.h"
#include "snapshot/pull/token.h"

namespace belay::snapshot {

namespace {

constexpr kj::Duration DEFAULT_DIAL_TIMEOUT = 30 * kj::SECONDS;
constexpr kj::Duration DEFAULT_STALL_TIMEOUT = 60 * kj::SECONDS;

// Of a refusal's body so much is kept for its message, and so much is read at all.
constexpr size_t KEPT_REFUSAL_BYTES = 16 * 1024;
constexpr size_t MAX_REFUSAL_BYTES = 1 << 20;

bool isRedirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

kj::Duration milliseconds(uint64_t ms, kj::Duration otherwise) {
  return ms == 0 ? otherwise : int64_t(kj::min(ms, uint64_t{1} << 40)) * kj::MILLISECONDS;
}

kj::String repositoryUrlOf(Host::Reader host, PullRequest::Reader pull) {
  return kj::str(host.getUrl(), host.getOverridePath() ? "" : "/v2", '/', pull.getRepository());
}

TlsSettings tlsOf(Host::Reader host) {
  TlsSettings tls;
  tls.authorities = kj::strArray(host.getCaFiles(), "\n");
  tls.clientCertificate = kj::heapString(host.getClientCertificate());
  tls.clientKey = kj::heapString(host.getClientKey());
  tls.verify = !host.getSkipVerify();
  return tls;
}

kj::Maybe<Challenge> findChallenge(const HttpResponse& response, kj::StringPtr scheme) {
  for (auto& header : response.headers) {
    if (strcasecmp(header.name.cStr(), "WWW-Authenticate") != 0) continue;
    for (auto& challenge : parseChallenges(header.value)) {
      if (challenge.scheme == scheme) return kj::mv(challenge);
    }
  }
  return nullptr;
}

}  // namespace

RegistryHost::RegistryHost(HttpClient& client, Host::Reader host, PullRequest::Reader pull)
    : client(client),
      host(host),
      pull(pull),
      // A default reader is anonymous.
      credentials(host.getIsMirror() ? Credentials::Reader() : pull.getCredentials()),
      origin(originOf(host.getUrl())),
      displayName(origin.name()),
      repositoryUrl(repositoryUrlOf(host, pull)),
      tls(tlsOf(host)),
      dialTimeout(milliseconds(host.getDialTimeoutMs(), DEFAULT_DIAL_TIMEOUT)),
      stallTimeout(milliseconds(pull.getStallTimeoutMs(), DEFAULT_STALL_TIMEOUT)) {
  if (credentials.isRegistryToken()) {
    authorization = kj::str("Bearer ", credentials.getRegistryToken());
  }
}

kj::Promise<RegistryAnswer> RegistryHost::ask(RegistryQuestion question, BodySink sink) {
  try {
    co_return co_await askOnce(question, sink);
  } catch (const kj::Exception& e) {
    failPull(pullErrorCode(e), "registry ", displayName, ": ", pullErrorSentence(e));
  }
}

kj::Promise<RegistryAnswer> RegistryHost::askOnce(const RegistryQuestion& question,
                                                  BodySink& sink) {
  auto answer = co_await followRedirects(question, sink);
  if (answer.response.status != 401) co_return kj::mv(answer);
  // Also after a long download: tokens live for minutes only.
  if (!co_await authenticate(answer.response)) co_return kj::mv(answer);
  co_return co_await followRedirects(question, sink);
}

kj::Promise<RegistryAnswer> RegistryHost::followRedirects(const RegistryQuestion& question,
                                                          BodySink& sink) {
  kj::StringPtr separator = host.getIsMirror() ? "?ns=" : "";
  auto url = kj::str(repositoryUrl, question.path, separator,
                     host.getIsMirror() ? urlEncoded(pull.getRegistry()) : kj::String());
  Origin target = originOf(url);
  for (int hop = 0; hop <= MAX_REDIRECTS; ++hop) {
    kj::Vector<kj::byte> refusal;
    size_t refusalBytes = 0;
    auto takePiece = [&](const HttpResponse& head, kj::ArrayPtr<const kj::byte> piece) {
      if (head.status >= 200 && head.status < 300) return sink(head, piece);
      refusalBytes += piece.size();
      if (refusalBytes > MAX_REFUSAL_BYTES)
        failPull(FailureCode::INVALID, "HTTP ", head.status, " with a body that does not end");
      refusal.addAll(piece.slice(0, kj::min(piece.size(), KEPT_REFUSAL_BYTES - refusal.size())));
    };
    auto response = co_await client.send(makeRequest(question, url, target), takePiece);
    if (!isRedirect(response.status)) {
      co_return RegistryAnswer{kj::mv(response), refusal.releaseAsArray()};
    }
    KJ_IF_MAYBE (next, response.redirectUrl) {
      Origin nextOrigin = originOf(*next);
      if (target.scheme == "https" && nextOrigin.scheme == "http") {
        failPull(FailureCode::INVALID, "redirects to ", nextOrigin.name(), " without TLS");
      }
      url = kj::mv(*next);
      target = kj::mv(nextOrigin);
    } else {
      failPull(FailureCode::INVALID, "HTTP ", response.status, " without a Location");
    }
  }
  failPull(FailureCode::INVALID, "more than ", MAX_REDIRECTS, " redirects");
}

HttpRequest RegistryHost::makeRequest(const RegistryQuestion& question, kj::StringPtr url,
                                      const Origin& target) {
  HttpRequest request;
  request.method = question.method;
  request.url = kj::heapString(url);
  request.tls = &tls;
  request.dialTimeout = dialTimeout;
  request.stallTimeout = stallTimeout;
  auto add = [&](kj::StringPtr name, kj::StringPtr value) {
    request.headers.add(HttpHeader{kj::heapString(name), kj::heapString(value)});
  };
  if (question.accept != "") add("Accept", question.accept);
  if (question.fromByte > 0) add("Range", kj::str("bytes=", question.fromByte, '-'));
  request.presentCertificate = target == origin;
  if (target == origin) {
    for (auto header : host.getHeaders())
      add(header.getName(), header.getValue());
    if (authorization != "") add("Authorization", authorization);
  }
  return request;
}

// Learns what to say from a 401. False when there is nothing to say that has not been said.
kj::Promise<bool> RegistryHost::authenticate(const HttpResponse& response) {
  KJ_IF_MAYBE (challenge, findChallenge(response, "bearer")) {
    auto scope = kj::str("repository:", pull.getRepository(), ":pull");
    auto transport =
        origin.scheme == "https" ? TokenQuestion::Transport::TLS : TokenQuestion::Transport::PLAIN;
    // A registry token is no use to the realm: it is the thing that the realm gives.
    if (credentials.isRegistryToken()) co_return false;
    auto token = co_await fetchToken(
        client, kj::mv(*challenge),
        TokenQuestion{tls, credentials, scope, transport, dialTimeout, stallTimeout});
    authorization = kj::str("Bearer ", token);
    co_return true;
  }
  if (findChallenge(response, "basic") == nullptr || !credentials.isBasic()) co_return false;
  auto basic = credentials.getBasic();
  auto value = basicAuthorization(basic.getUsername(), basic.getPassword());
  if (value == authorization) co_return false;
  authorization = kj::mv(value);
  co_return true;
}

kj::Exception RegistryHost::refusal(kj::StringPtr step, const RegistryAnswer& answer) const {
  unsigned status = answer.response.status;
  kj::StringPtr hint = "";
  if (status == 401 || status == 403) {
    hint = credentials.isAnonymous() ? "; no credentials were given for it"
                                     : "; the credentials given were not accepted";
  }
  return pullError(codeOfStatus(status), kj::str("registry ", displayName, ": ", step, ": ",
                                                 describeRefusal(status, answer.refusal), hint));
}

}  // namespace belay::snapshot
