// gRPC's framing of messages: one byte "compressed", four bytes length (big-endian), the message.
// Here the request's side: collects the one message that a unary or server-streaming call has.
#pragma once

#include <kj/array.h>
#include <kj/one-of.h>

#include <cstdint>

#include "criapi/grpc/byte-budget.h"
#include "criapi/grpc/status.h"

namespace belay::criapi::grpc {

// The bytes before each message.
constexpr size_t PREFIX_BYTES = 5;

// The prefix of an uncompressed message of that size.
kj::FixedArray<kj::byte, PREFIX_BYTES> framePrefix(uint32_t messageBytes);

// How the messages of a request may be compressed (its `grpc-encoding`).
enum class Encoding { IDENTITY, GZIP };

// Collects a request's message as its bytes arrive. What arrived is held by a lease until this is
// destroyed, so the request counts as memory of the call as long as the call lives.
class RequestAssembler {
 public:
  // `budget` outlives this.
  RequestAssembler(size_t maxMessageBytes, ByteBudget& budget)
      : maxMessageBytes(maxMessageBytes), lease(budget) {}

  // Before the first add().
  void setEncoding(Encoding e) { encoding = e; }

  // Takes the next bytes of the body. A status if the call has to end with it: message too large
  // (known from the prefix already), more than one message, or out of budget. After that, no more
  // calls.
  kj::Maybe<Status> add(kj::ArrayPtr<const kj::byte> bytes);

  // The body is complete: the message, inflated, or why there is none. Once.
  kj::OneOf<kj::Array<kj::byte>, Status> finish();

 private:
  size_t maxMessageBytes;
  ByteLease lease;
  Encoding encoding = Encoding::IDENTITY;
  kj::byte prefix[PREFIX_BYTES];
  size_t prefixFilled = 0;
  size_t messageBytes = 0;
  kj::Array<kj::byte> message;
  size_t messageFilled = 0;

  kj::Maybe<Status> addToPrefix(kj::ArrayPtr<const kj::byte>& bytes);
  kj::Maybe<Status> addToMessage(kj::ArrayPtr<const kj::byte> bytes);
  void reserve(size_t bytes);
};

}  // namespace belay::criapi::grpc
