// See reference.h.
#include "snapshot/reference.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

// The defaults of the distribution project's normalisation.
constexpr kj::StringPtr DEFAULT_REGISTRY = "docker.io"_kj;
constexpr kj::StringPtr LEGACY_DEFAULT_REGISTRY = "index.docker.io"_kj;
constexpr kj::StringPtr OFFICIAL_PREFIX = "library/"_kj;
constexpr kj::StringPtr DEFAULT_TAG = "latest"_kj;

constexpr size_t MAX_NAME_SIZE = 255;  // registry and repository together
constexpr size_t MAX_TAG_SIZE = 128;
constexpr size_t MAX_REFERENCE_SIZE = 1024;

using Slice = kj::ArrayPtr<const char>;

bool isDigit(char c) {
  return '0' <= c && c <= '9';
}
bool isLower(char c) {
  return 'a' <= c && c <= 'z';
}
bool isUpper(char c) {
  return 'A' <= c && c <= 'Z';
}
bool isLowerOrDigit(char c) {
  return isLower(c) || isDigit(c);
}
bool isAlphanumeric(char c) {
  return isLowerOrDigit(c) || isUpper(c);
}

kj::Maybe<size_t> find(Slice text, char wanted) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == wanted) return i;
  }
  return nullptr;
}

kj::Maybe<size_t> findLast(Slice text, char wanted) {
  for (size_t i = text.size(); i > 0; --i) {
    if (text[i - 1] == wanted) return i - 1;
  }
  return nullptr;
}

// Calls `check` for each part between separators; false as soon as it says so.
template <typename Check>
bool allParts(Slice text, char separator, Check&& check) {
  for (;;) {
    KJ_IF_MAYBE (end, find(text, separator)) {
      if (!check(text.slice(0, *end))) return false;
      text = text.slice(*end + 1, text.size());
    } else {
      return check(text);
    }
  }
}

// [a-zA-Z0-9] or [a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]
bool isDomainComponent(Slice text) {
  if (text.size() == 0 || text[0] == '-' || text[text.size() - 1] == '-') return false;
  for (char c : text) {
    if (!isAlphanumeric(c) && c != '-') return false;
  }
  return true;
}

// A bracketed IPv6 address, loosely; whoever connects parses it.
bool isBracketedAddress(Slice text) {
  if (text.size() < 4 || text[0] != '[' || text[text.size() - 1] != ']') return false;
  for (char c : text.slice(1, text.size() - 1)) {
    bool hex = isDigit(c) || ('a' <= c && c <= 'f') || ('A' <= c && c <= 'F');
    if (!hex && c != ':') return false;
  }
  return true;
}

bool isPort(Slice text) {
  kj::uint value = 0;
  for (char c : text) {
    if (!isDigit(c)) return false;
    value = value * 10 + (c - '0');
    if (value > 65535) return false;
  }
  return text.size() > 0 && value > 0;
}

bool isRegistry(Slice text) {
  Slice host = text;
  // The colons inside brackets are the address's own.
  if (text.size() > 0 && text[text.size() - 1] != ']') {
    KJ_IF_MAYBE (colon, findLast(text, ':')) {
      if (!isPort(text.slice(*colon + 1, text.size()))) return false;
      host = text.slice(0, *colon);
    }
  }
  if (host.size() > 0 && host[0] == '[') return isBracketedAddress(host);
  return allParts(host, '.', isDomainComponent);
}

// [a-z0-9]+ joined by one '.', one or two '_', or any number of '-'.
bool isPathComponent(Slice text) {
  size_t at = 0;
  for (;;) {
    size_t start = at;
    while (at < text.size() && isLowerOrDigit(text[at]))
      ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    char separator = text[at];
    size_t run = at;
    while (at < text.size() && text[at] == separator)
      ++at;
    size_t length = at - run;
    bool allowed =
        (separator == '.' && length == 1) || (separator == '_' && length <= 2) || separator == '-';
    if (!allowed) return false;
  }
}

bool isTag(Slice text) {
  if (text.size() == 0 || text.size() > MAX_TAG_SIZE) return false;
  if (text[0] == '.' || text[0] == '-') return false;
  for (char c : text) {
    if (!isAlphanumeric(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

// Whether the part before the first slash is a registry and not the first folder of a repository.
bool looksLikeRegistry(Slice text) {
  if (kj::heapString(text) == "localhost") return true;
  for (char c : text) {
    if (c == '.' || c == ':' || isUpper(c)) return true;
  }
  return false;
}

[[noreturn]] void refuse(kj::StringPtr whole, kj::StringPtr why) {
  // It may be anything: show its printable beginning alone.
  kj::String shown = kj::heapString(whole.slice(0).begin(), kj::min(whole.size(), size_t(200)));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  fail(Code::INVALID_ARGUMENT, "image reference \"", shown, "\": ", why);
}

// Cuts "@DIGEST" off the end of `rest`.
kj::Maybe<Digest> takeDigest(Slice& rest, kj::StringPtr whole) {
  KJ_IF_MAYBE (at, find(rest, '@')) {
    auto text = kj::heapString(rest.slice(*at + 1, rest.size()));
    rest = rest.slice(0, *at);
    KJ_IF_MAYBE (digest, Digest::tryParse(text)) {
      return *digest;
    }
    refuse(whole, "after the @ a digest is wanted: sha256: and 64 lower-case hex digits");
  }
  return nullptr;
}

// Cuts ":TAG" off the end of `rest`; a colon before a slash is a port's.
kj::Maybe<kj::String> takeTag(Slice& rest, kj::StringPtr whole) {
  size_t lastPart = 0;
  KJ_IF_MAYBE (slash, findLast(rest, '/')) {
    lastPart = *slash + 1;
  }
  KJ_IF_MAYBE (colon, find(rest.slice(lastPart, rest.size()), ':')) {
    Slice tag = rest.slice(lastPart + *colon + 1, rest.size());
    if (!isTag(tag)) {
      refuse(whole,
             "the tag must be 1 to 128 letters, digits, _, . and -, and not start with . or -");
    }
    rest = rest.slice(0, lastPart + *colon);
    return kj::heapString(tag);
  }
  return nullptr;
}

}  // namespace

Reference Reference::parse(kj::StringPtr text) {
  if (text.size() == 0) fail(Code::INVALID_ARGUMENT, "image reference: it is empty");
  if (text.size() > MAX_REFERENCE_SIZE) refuse(text, "it is longer than 1024 bytes");
  Reference result;
  Slice rest = text.slice(0).asArray();
  result.digest = takeDigest(rest, text);
  result.tag = takeTag(rest, text);

  result.registry = kj::str(DEFAULT_REGISTRY);
  KJ_IF_MAYBE (slash, find(rest, '/')) {
    if (looksLikeRegistry(rest.slice(0, *slash))) {
      result.registry = kj::heapString(rest.slice(0, *slash));
      rest = rest.slice(*slash + 1, rest.size());
      if (!isRegistry(result.registry))
        refuse(text, "its registry is no host name with optional port");
    }
  }
  if (result.registry == LEGACY_DEFAULT_REGISTRY) result.registry = kj::str(DEFAULT_REGISTRY);
  bool official = result.registry == DEFAULT_REGISTRY && find(rest, '/') == nullptr;
  result.repository = kj::str(official ? OFFICIAL_PREFIX : ""_kj, rest);

  if (!allParts(result.repository, '/', isPathComponent)) {
    refuse(text, "its repository must be lower-case letters and digits, joined by . _ __ - and /");
  }
  // It would be taken for the id of an image.
  if (official && Digest::tryFromHex(kj::heapString(rest)) != nullptr) {
    refuse(text, "a name of 64 hex digits is an image id and cannot be pulled");
  }
  if (result.registry.size() + 1 + result.repository.size() > MAX_NAME_SIZE) {
    refuse(text, "its name is longer than 255 bytes");
  }
  if (result.tag == nullptr && result.digest == nullptr) result.tag = kj::str(DEFAULT_TAG);
  return result;
}

kj::Maybe<Reference> Reference::tryParse(kj::StringPtr text) {
  kj::Maybe<Reference> result;
  // The only exceptions here are refusals.
  auto refusal = kj::runCatchingExceptions([&]() { result = parse(text); });
  return result;
}

kj::String Reference::name() const {
  return kj::str(registry, '/', repository);
}

kj::Maybe<kj::String> Reference::taggedName() const {
  KJ_IF_MAYBE (t, tag) {
    return kj::str(registry, '/', repository, ':', *t);
  }
  return nullptr;
}

kj::String Reference::nameWith(const Digest& contentDigest) const {
  return kj::str(registry, '/', repository, '@', contentDigest);
}

kj::String Reference::toString() const {
  kj::String result = name();
  KJ_IF_MAYBE (t, tag) {
    result = kj::str(result, ':', *t);
  }
  KJ_IF_MAYBE (d, digest) {
    result = kj::str(result, '@', *d);
  }
  return result;
}

Reference Reference::clone() const {
  Reference result;
  result.registry = kj::str(registry);
  result.repository = kj::str(repository);
  KJ_IF_MAYBE (t, tag) {
    result.tag = kj::str(*t);
  }
  result.digest = digest;
  return result;
}

}  // namespace belay::snapshot
