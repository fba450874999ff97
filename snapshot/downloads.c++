// See downloads.h.
#include "snapshot/downloads.h"

namespace belay::snapshot {

Downloads::Claim::Claim(Downloads& downloads, const Digest& digest)
    : downloads(downloads), digest(digest) {
  downloads.claims.insert(digest, this);
}

Downloads::Claim::~Claim() noexcept(false) {
  downloads.claims.erase(digest);
  for (auto& waiter : waiters)
    waiter->fulfill();
}

kj::Maybe<kj::Own<Downloads::Claim>> Downloads::tryClaim(const Digest& digest) {
  if (claims.find(digest) != nullptr) return nullptr;
  return kj::Own<Claim>(new Claim(*this, digest), kj::_::HeapDisposer<Claim>::instance);
}

kj::Promise<void> Downloads::whenFree(const Digest& digest) {
  KJ_IF_MAYBE (claim, claims.find(digest)) {
    auto waiter = kj::newPromiseAndFulfiller<void>();
    (*claim)->waiters.add(kj::mv(waiter.fulfiller));
    return kj::mv(waiter.promise);
  }
  return kj::READY_NOW;
}

void Downloads::releaseAfter(kj::Promise<void> writerGone, kj::Own<Claim> claim) {
  releasing.add(writerGone.attach(kj::mv(claim)));
}

}  // namespace belay::snapshot
