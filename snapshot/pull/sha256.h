// SHA-256 by OpenSSL (SHA-NI where the CPU has it), fed piece by piece.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <openssl/evp.h>

#include <memory>

namespace belay::snapshot {

class Sha256 {
 public:
  // Loads the algorithm; no file is opened, then or later.
  Sha256();

  void update(kj::ArrayPtr<const kj::byte> bytes);

  // 64 lower-case hex digits. The object is spent.
  kj::String finishHex();

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context;
};

// "sha256:" and the hex digest of `bytes`.
kj::String sha256Digest(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace belay::snapshot
