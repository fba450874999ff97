// See token.h.
#include "snapshot/pull/token.h"

#include <kj/encoding.h>

#include "snapshot/pull/json.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/registry-error.h"
#include "snapshot/pull/url.h"

namespace belay::snapshot {

namespace {

// Tokens are some kilobytes; those with many groups in them some tens.
constexpr size_t MAX_ANSWER_BYTES = 1 << 20;

kj::String query(const Challenge& challenge, const TokenQuestion& question) {
  kj::StringPtr scope = challenge.parameter("scope");
  if (scope == "") scope = question.defaultScope;
  return kj::str("service=", urlEncoded(challenge.parameter("service")),
                 "&scope=", urlEncoded(scope));
}

HttpRequest makeRequest(const Challenge& challenge, const TokenQuestion& question) {
  kj::StringPtr realm = challenge.parameter("realm");
  HttpRequest request;
  request.tls = &question.tls;
  request.presentCertificate = false;
  request.dialTimeout = question.dialTimeout;
  request.stallTimeout = question.stallTimeout;
  auto credentials = question.credentials;
  if (credentials.isIdentityToken()) {
    request.method = HttpMethod::POST;
    request.url = kj::heapString(realm);
    request.form =
        kj::str("grant_type=refresh_token&client_id=belay&refresh_token=",
                urlEncoded(credentials.getIdentityToken()), '&', query(challenge, question));
    return request;
  }
  char separator = realm.findFirst('?') == nullptr ? '?' : '&';
  request.url = kj::str(realm, separator, query(challenge, question));
  if (credentials.isBasic()) {
    auto basic = credentials.getBasic();
    request.headers.add(HttpHeader{kj::str("Authorization"),
                                   basicAuthorization(basic.getUsername(), basic.getPassword())});
  }
  return request;
}

kj::String tokenIn(kj::ArrayPtr<const kj::byte> answer) {
  Json json = parseJsonObject(answer, "the token server's answer");
  kj::String token = textMember(json, "token");
  if (token == "") token = textMember(json, "access_token");
  if (token == "") failPull(FailureCode::INVALID, "the token server's answer has no token");
  return token;
}

}  // namespace

kj::String basicAuthorization(kj::StringPtr username, kj::StringPtr password) {
  return kj::str("Basic ", kj::encodeBase64(kj::str(username, ':', password).asBytes()));
}

kj::Promise<kj::String> fetchToken(HttpClient& client, Challenge challenge,
                                   TokenQuestion question) {
  Origin realm = originOf(challenge.parameter("realm"));
  bool secret = !question.credentials.isAnonymous();
  if (secret && realm.scheme == "http" && question.transport == TokenQuestion::Transport::TLS) {
    failPull(FailureCode::INVALID, "the registry wants credentials sent to ", realm.name(),
             " without TLS");
  }
  kj::Vector<kj::byte> body;
  auto response = co_await client.send(
      makeRequest(challenge, question),
      [&body](const HttpResponse&, kj::ArrayPtr<const kj::byte> piece) {
        if (body.size() + piece.size() > MAX_ANSWER_BYTES) {
          failPull(FailureCode::INVALID, "the token server's answer is too long");
        }
        body.addAll(piece);
      });
  if (response.status != 200) {
    failPull(codeOfStatus(response.status), "token server ", realm.name(), ": ",
             describeRefusal(response.status, body));
  }
  co_return tokenIn(body);
}

}  // namespace belay::snapshot
