// See sha256.h.
#include "snapshot/pull/sha256.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/crypto.h>

namespace belay::snapshot {

namespace {

EVP_MD_CTX* newContext() {
  // Without this OpenSSL reads its configuration file at the first use.
  KJ_REQUIRE(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr) == 1);
  return EVP_MD_CTX_new();
}

}  // namespace

Sha256::Sha256() : context(newContext(), &EVP_MD_CTX_free) {
  KJ_REQUIRE(context != nullptr, "no memory for a SHA-256");
  KJ_REQUIRE(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1,
             "OpenSSL offers no SHA-256");
}

void Sha256::update(kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(EVP_DigestUpdate(context.get(), bytes.begin(), bytes.size()) == 1);
}

kj::String Sha256::finishHex() {
  kj::byte digest[32];
  KJ_REQUIRE(EVP_DigestFinal_ex(context.get(), digest, nullptr) == 1);
  return kj::encodeHex(kj::arrayPtr(digest, sizeof(digest)));
}

kj::String sha256Digest(kj::ArrayPtr<const kj::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return kj::str("sha256:", hash.finishHex());
}

}  // namespace belay::snapshot
