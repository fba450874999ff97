// Taking turns: the operations that change one pod or one container run one after the other, in the
// order they came.
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <deque>

namespace belay::supervisor {

class Turns {
 public:
  Turns() = default;
  KJ_DISALLOW_COPY_AND_MOVE(Turns);

  // Held while it is one's turn; dropping it lets the next one go on. Must not outlive the Turns.
  class Turn {
   public:
    explicit Turn(Turns& turns) : turns(&turns) {}
    Turn(Turn&& other) : turns(other.turns) { other.turns = nullptr; }
    Turn& operator=(Turn&&) = delete;
    ~Turn() noexcept(false) {
      if (turns != nullptr) turns->passOn();
    }

   private:
    Turns* turns;
  };

  // Resolves when it is the caller's turn. Dropping the promise gives up the place in the queue.
  kj::Promise<Turn> take() {
    if (!taken) {
      taken = true;
      return Turn(*this);
    }
    auto paf = kj::newPromiseAndFulfiller<Turn>();
    waiting.push_back(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }

 private:
  bool taken = false;
  std::deque<kj::Own<kj::PromiseFulfiller<Turn>>> waiting;

  void passOn() {
    taken = false;
    while (!waiting.empty()) {
      auto next = kj::mv(waiting.front());
      waiting.pop_front();
      if (next->isWaiting()) {
        taken = true;
        next->fulfill(Turn(*this));
        return;
      }
    }
  }
};

}  // namespace belay::supervisor
