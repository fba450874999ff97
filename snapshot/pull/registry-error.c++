// See registry-error.h.
#include "snapshot/pull/registry-error.h"

#include "snapshot/pull/json.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr size_t MAX_MESSAGE_BYTES = 300;

// The first of the body's errors, "CODE: message"; the token servers' flat form is understood too.
kj::String explanation(kj::ArrayPtr<const kj::byte> body) {
  Json json = parseJsonObject(body, "the answer");
  const Json& errors = listMember(json, "errors");
  const Json& error = errors.empty() ? json : errors.front();
  kj::String code = textMember(error, errors.empty() ? "error" : "code");
  kj::String message = textMember(error, errors.empty() ? "error_description" : "message");
  if (message == "" && errors.empty()) message = textMember(error, "details");
  kj::StringPtr colon = code == "" || message == "" ? "" : ": ";
  return kj::str(code, colon, message);
}

}  // namespace

FailureCode codeOfStatus(unsigned status) {
  if (status == 401 || status == 403) return FailureCode::UNAUTHORIZED;
  if (status == 404) return FailureCode::NOT_FOUND;
  if (status == 408 || status == 429 || status >= 500) return FailureCode::UNAVAILABLE;
  return FailureCode::INVALID;
}

kj::String describeRefusal(unsigned status, kj::ArrayPtr<const kj::byte> body) {
  kj::String words;
  // A body that is no such JSON (a proxy's page, nothing at all) adds nothing.
  kj::runCatchingExceptions([&]() { words = explanation(body); });
  if (words == "") return kj::str("HTTP ", status);
  return kj::str("HTTP ", status, " (", oneLine(words, MAX_MESSAGE_BYTES), ")");
}

}  // namespace belay::snapshot
