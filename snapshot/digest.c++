// See digest.h.
#include "snapshot/digest.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/vector.h>
#include <openssl/evp.h>
#include <string.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

constexpr kj::StringPtr PREFIX = "sha256:"_kj;
constexpr size_t MAX_SHOWN = 100;  // bytes of a wrong digest that an error repeats

bool isLowerHex(kj::StringPtr text) {
  for (char c : text) {
    if (!(('0' <= c && c <= '9') || ('a' <= c && c <= 'f'))) return false;
  }
  return true;
}

}  // namespace

kj::Maybe<Digest> Digest::tryParse(kj::StringPtr text) {
  if (!text.startsWith(PREFIX)) return nullptr;
  return tryFromHex(text.slice(PREFIX.size()));
}

Digest Digest::parse(kj::StringPtr text, kj::StringPtr what) {
  KJ_IF_MAYBE (digest, tryParse(text)) {
    return *digest;
  }
  auto shown = text.slice(0, kj::min(text.size(), MAX_SHOWN));
  fail(Code::INVALID_ARGUMENT, what, ": \"", shown,
       "\" is no digest: sha256: and 64 lower-case hex digits are wanted");
}

kj::Maybe<Digest> Digest::tryFromHex(kj::StringPtr hex) {
  static_assert(PREFIX_SIZE == 7);
  if (hex.size() != HEX_SIZE || !isLowerHex(hex)) return nullptr;
  Digest result;
  memcpy(result.chars, PREFIX.begin(), PREFIX_SIZE);
  memcpy(result.chars + PREFIX_SIZE, hex.begin(), HEX_SIZE);
  result.chars[PREFIX_SIZE + HEX_SIZE] = 0;
  return result;
}

Digest Digest::of(kj::ArrayPtr<const kj::byte> bytes) {
  kj::byte hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  KJ_ASSERT(EVP_Digest(bytes.begin(), bytes.size(), hash, &size, EVP_sha256(), nullptr) == 1);
  return KJ_ASSERT_NONNULL(tryFromHex(kj::encodeHex(kj::arrayPtr(hash, size))));
}

Digest chainIdUpon(kj::Maybe<const Digest&> below, const Digest& diffId) {
  KJ_IF_MAYBE (base, below) {
    return Digest::of(kj::str(*base, ' ', diffId).asBytes());
  }
  return diffId;
}

kj::Array<Digest> chainIds(kj::ArrayPtr<const Digest> diffIds) {
  kj::Vector<Digest> result(diffIds.size());
  for (const Digest& diffId : diffIds) {
    kj::Maybe<const Digest&> below;
    if (!result.empty()) below = result.back();
    result.add(chainIdUpon(below, diffId));
  }
  return result.releaseAsArray();
}

}  // namespace belay::snapshot
