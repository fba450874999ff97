// The one-time tokens of streaming URLs.
#pragma once

#include <kj/map.h>
#include <kj/time.h>

#include <deque>

#include "criapi/streaming/handover.capnp.h"
#include "criapi/streaming/stream-request.h"

namespace belay::criapi::streaming {

// Kept in memory alone: with a daemon that is killed its tokens end, and clients ask again.
class Tokens {
 public:
  static constexpr kj::Duration LIFETIME = 1 * kj::MINUTES;
  static constexpr size_t MAX_WAITING = 1000;

  // `clock` outlives this object.
  explicit Tokens(const kj::MonotonicClock& clock) : clock(clock) {}
  KJ_DISALLOW_COPY_AND_MOVE(Tokens);

  // 256 random bits, as characters that a URL can hold. Throws RESOURCE_EXHAUSTED while MAX_WAITING
  // are neither used nor too old.
  kj::String add(StreamRequest request);

  // Those that wait, for the daemon that takes this one's place, and back.
  void describe(StreamHandover::Builder handover) const;
  void takeOver(StreamHandover::Reader handover);

  // What the token stands for, once; nothing if it is unknown, used, too old, or another kind's
  // (whose it stays).
  kj::Maybe<StreamRequest> redeem(Kind kind, kj::StringPtr token);

 private:
  struct Entry {
    StreamRequest request;
    kj::TimePoint expiry;
  };

  const kj::MonotonicClock& clock;
  kj::HashMap<kj::String, Entry> entries;
  // In the order of their expiry; used ones are in it, too.
  struct Waiting {
    kj::String token;
    kj::TimePoint expiry;
  };
  std::deque<Waiting> order;

  void insert(kj::String token, StreamRequest request, kj::TimePoint expiry);
  void forgetOld();
};

}  // namespace belay::criapi::streaming
