// See url.h.
#include "snapshot/pull/url.h"

#include <curl/curl.h>
#include <kj/encoding.h>

#include <memory>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

kj::Maybe<kj::String> part(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return nullptr;
  std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return kj::heapString(text);
}

}  // namespace

kj::String Origin::name() const {
  bool implied = (scheme == "https" && port == "443") || (scheme == "http" && port == "80");
  return implied ? kj::heapString(host) : kj::str(host, ':', port);
}

Origin originOf(kj::StringPtr text) {
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  if (url != nullptr && curl_url_set(url.get(), CURLUPART_URL, text.cStr(), 0) == CURLUE_OK &&
      part(url.get(), CURLUPART_USER) == nullptr) {
    Origin origin{part(url.get(), CURLUPART_SCHEME).orDefault(kj::String()),
                  part(url.get(), CURLUPART_HOST).orDefault(kj::String()),
                  part(url.get(), CURLUPART_PORT).orDefault(kj::String())};
    if (origin.scheme == "http" || origin.scheme == "https") return origin;
  }
  failPull(FailureCode::INVALID, "\"", oneLine(text, 200), "\" is no http or https URL");
}

kj::String urlEncoded(kj::StringPtr text) {
  return kj::encodeUriComponent(text);
}

}  // namespace belay::snapshot
