// See tokens.h.
#include "criapi/streaming/tokens.h"

#include <kj/debug.h>
#include <sys/random.h>

#include "snapshot/failure.h"

namespace belay::criapi::streaming {

namespace {

constexpr size_t TOKEN_BYTES = 32;

// base64url without padding (RFC 4648).
kj::String newToken() {
  kj::byte bytes[TOKEN_BYTES + 1] = {};
  ssize_t count;
  KJ_SYSCALL(count = getrandom(bytes, TOKEN_BYTES, 0));
  KJ_ASSERT(count == TOKEN_BYTES);
  constexpr char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  kj::Vector<char> text;
  for (size_t bit = 0; bit < TOKEN_BYTES * 8; bit += 6) {
    unsigned pair = bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
    text.add(DIGITS[pair >> (10 - bit % 8) & 63]);
  }
  return kj::heapString(text);
}

}  // namespace

kj::String Tokens::add(StreamRequest request) {
  forgetOld();
  if (entries.size() >= MAX_WAITING) {
    snapshot::fail(snapshot::Code::RESOURCE_EXHAUSTED, MAX_WAITING,
                   " streaming URLs wait for their clients already: they are good for ",
                   LIFETIME / kj::SECONDS, " s, try again then");
  }
  auto token = newToken();
  auto expiry = clock.now() + LIFETIME;
  entries.insert(kj::str(token), Entry{kj::mv(request), expiry});
  order.push_back({kj::str(token), expiry});
  return token;
}

kj::Maybe<StreamRequest> Tokens::redeem(Kind kind, kj::StringPtr token) {
  forgetOld();
  KJ_IF_MAYBE (entry, entries.find(token)) {
    if (kindOf(entry->request) != kind) return nullptr;
    auto request = kj::mv(entry->request);
    entries.erase(token);
    return kj::mv(request);
  }
  return nullptr;
}

void Tokens::forgetOld() {
  while (!order.empty() && order.front().expiry <= clock.now()) {
    entries.erase(order.front().token);
    order.pop_front();
  }
}

}  // namespace belay::criapi::streaming
