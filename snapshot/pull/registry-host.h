// One endpoint of a registry (the registry itself or a mirror): URLs, headers, authentication and
// redirects of the OCI distribution API.
#pragma once

#include <kj/async.h>
#include <kj/string.h>

#include "snapshot/pull.capnp.h"
#include "snapshot/pull/http-client.h"
#include "snapshot/pull/url.h"

namespace belay::snapshot {

struct RegistryQuestion {
  HttpMethod method = HttpMethod::GET;
  kj::String path;  // below the repository: "/manifests/latest"
  kj::StringPtr accept;
  uint64_t fromByte = 0;  // asks for the rest by Range
};

struct RegistryAnswer {
  HttpResponse response;
  kj::Array<kj::byte> refusal;  // the body of an answer that is not 2xx, its beginning

  bool isSuccess() const { return response.status >= 200 && response.status < 300; }
};

// Security rules: Authorization and the headers of hosts.toml go to this endpoint's own origin
// alone, never to where it redirects; a client certificate likewise. A redirect from https to http
// is refused. Credentials are for the registry that the image's name says; a mirror never sees
// them.
class RegistryHost {
 public:
  static constexpr int MAX_REDIRECTS = 10;

  // `client` and what the readers read must outlive this object.
  RegistryHost(HttpClient& client, Host::Reader host, PullRequest::Reader pull);

  bool canResolve() const { return host.getCanResolve(); }
  bool canPull() const { return host.getCanPull(); }
  // "127.0.0.1:5000", for error sentences.
  kj::StringPtr name() const { return displayName; }

  // Asks, authenticates when the endpoint wants it, follows redirects. Only a 2xx answer's body
  // goes to `sink`. Any status comes back as a value; throws as HttpClient::send does, with this
  // endpoint's name in the sentence.
  kj::Promise<RegistryAnswer> ask(RegistryQuestion question, BodySink sink);

  // An exception for an answer that is not what was asked for: "registry HOST: STEP: HTTP ...".
  kj::Exception refusal(kj::StringPtr step, const RegistryAnswer& answer) const;

 private:
  kj::Promise<RegistryAnswer> askOnce(const RegistryQuestion& question, BodySink& sink);
  kj::Promise<RegistryAnswer> followRedirects(const RegistryQuestion& question, BodySink& sink);
  HttpRequest makeRequest(const RegistryQuestion& question, kj::StringPtr url,
                          const Origin& target);
  kj::Promise<bool> authenticate(const HttpResponse& response);

  HttpClient& client;
  Host::Reader host;
  PullRequest::Reader pull;
  Credentials::Reader credentials;
  Origin origin;
  kj::String displayName;
  kj::String repositoryUrl;
  TlsSettings tls;
  kj::Duration dialTimeout;
  kj::Duration stallTimeout;
  kj::String authorization;  // "" until the endpoint asks
};

}  // namespace belay::snapshot
