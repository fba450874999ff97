// Content digests, "sha256:" and 64 lower-case hex digits, and the chain ids made of them. A Digest
// is always well formed, so its hex may serve as a file name.
#pragma once

#include <kj/array.h>
#include <kj/hash.h>
#include <kj/string.h>

namespace belay::snapshot {

class Digest {
 public:
  static constexpr size_t HEX_SIZE = 64;

  // Null when the text is anything else, also for other algorithms and upper-case digits (OCI
  // image-spec, descriptor.md).
  static kj::Maybe<Digest> tryParse(kj::StringPtr text);
  // Throws INVALID_ARGUMENT with `what` ("layer 3", "image id") in the sentence.
  static Digest parse(kj::StringPtr text, kj::StringPtr what);
  // From the 64 digits alone.
  static kj::Maybe<Digest> tryFromHex(kj::StringPtr hex);
  // Of bytes in memory; for small things only, it hashes here and now.
  static Digest of(kj::ArrayPtr<const kj::byte> bytes);

  // "sha256:..." and the digits alone. Valid as long as this object is.
  kj::StringPtr text() const { return kj::StringPtr(chars, PREFIX_SIZE + HEX_SIZE); }
  kj::StringPtr hex() const { return text().slice(PREFIX_SIZE); }

  bool operator==(const Digest& other) const { return text() == other.text(); }
  kj::uint hashCode() const { return kj::hashCode(text()); }

 private:
  static constexpr size_t PREFIX_SIZE = 7;
  Digest() = default;
  char chars[PREFIX_SIZE + HEX_SIZE + 1];
};

inline kj::StringPtr KJ_STRINGIFY(const Digest& digest) {
  return digest.text();
}

// The OCI chain id of a layer with this diff id upon the layers below (null: it is the bottom one).
// See image-spec, config.md, "Layer ChainID".
Digest chainIdUpon(kj::Maybe<const Digest&> below, const Digest& diffId);

// Of a whole image, bottom first.
kj::Array<Digest> chainIds(kj::ArrayPtr<const Digest> diffIds);

}  // namespace belay::snapshot
