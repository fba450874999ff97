// See byte-budget.h.
#include "criapi/grpc/byte-budget.h"

#include <kj/debug.h>

namespace belay::criapi::grpc {

bool ByteBudget::tryTake(size_t bytes) {
  if (bytes > limit - held) return false;
  KJ_IF_MAYBE (p, parent) {
    if (!p->tryTake(bytes)) return false;
  }
  held += bytes;
  return true;
}

void ByteBudget::giveBack(size_t bytes) {
  KJ_DASSERT(bytes <= held);
  held -= bytes;
  KJ_IF_MAYBE (p, parent) {
    p->giveBack(bytes);
  }
}

bool ByteLease::tryGrow(size_t bytes) {
  if (!budget.tryTake(bytes)) return false;
  held += bytes;
  return true;
}

void ByteLease::shrink(size_t bytes) {
  KJ_DASSERT(bytes <= held);
  held -= bytes;
  budget.giveBack(bytes);
}

}  // namespace belay::criapi::grpc
