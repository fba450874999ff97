// Caps on the memory that clients make the server hold.
#pragma once

#include <kj/common.h>

#include <cstddef>

namespace belay::criapi::grpc {

// A limit on bytes held, optionally within another one (a connection's within the server's).
class ByteBudget {
 public:
  // `parent`, if any, outlives this.
  explicit ByteBudget(size_t limit, kj::Maybe<ByteBudget&> parent = nullptr)
      : limit(limit), parent(parent) {}
  KJ_DISALLOW_COPY_AND_MOVE(ByteBudget);

  // Takes all of the bytes or, returning false, none.
  bool tryTake(size_t bytes);
  void giveBack(size_t bytes);

  size_t used() const { return held; }

 private:
  size_t limit;
  kj::Maybe<ByteBudget&> parent;
  size_t held = 0;
};

// What one owner took of a budget; given back when this is destroyed.
class ByteLease {
 public:
  explicit ByteLease(ByteBudget& budget) : budget(budget) {}
  ~ByteLease() { budget.giveBack(held); }
  KJ_DISALLOW_COPY_AND_MOVE(ByteLease);

  // Takes more; false if the budget does not allow it.
  bool tryGrow(size_t bytes);
  void shrink(size_t bytes);

 private:
  ByteBudget& budget;
  size_t held = 0;
};

}  // namespace belay::criapi::grpc
