// Which pull downloads which blob: no two write the same file.
#pragma once

#include <kj/async.h>
#include <kj/map.h>
#include <kj/memory.h>
#include <kj/vector.h>

#include "snapshot/digest.h"

namespace belay::snapshot {

class Downloads : private kj::TaskSet::ErrorHandler {
 public:
  Downloads() : releasing(*this) {}
  KJ_DISALLOW_COPY_AND_MOVE(Downloads);

  // The right to download a blob. Dropping it lets the next one try; `downloads` outlives it.
  class Claim {
   public:
    ~Claim() noexcept(false);
    KJ_DISALLOW_COPY_AND_MOVE(Claim);

   private:
    friend class Downloads;
    Claim(Downloads& downloads, const Digest& digest);
    Downloads& downloads;
    Digest digest;
    kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> waiters;
  };

  // Null when another one has it.
  kj::Maybe<kj::Own<Claim>> tryClaim(const Digest& digest);

  // Resolves when nobody has it any more: look again whether the blob has come.
  kj::Promise<void> whenFree(const Digest& digest);

  // Drops the claim when `writerGone` resolves or fails: a killed process may write on for a
  // moment.
  void releaseAfter(kj::Promise<void> writerGone, kj::Own<Claim> claim);

 private:
  kj::HashMap<Digest, Claim*> claims;
  kj::TaskSet releasing;

  void taskFailed(kj::Exception&& exception) override {}
};

}  // namespace belay::snapshot
