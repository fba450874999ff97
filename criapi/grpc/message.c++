// See message.h.
#include "criapi/grpc/message.h"

#include <kj/debug.h>

#include <cstring>

#include "criapi/grpc/gzip.h"

namespace belay::criapi::grpc {

namespace {

// A length is only a claim: memory is taken as the bytes arrive, doubling from here.
constexpr size_t FIRST_RESERVE_BYTES = 16 * 1024;

constexpr kj::byte COMPRESSED = 1;

}  // namespace

kj::FixedArray<kj::byte, PREFIX_BYTES> framePrefix(uint32_t messageBytes) {
  kj::FixedArray<kj::byte, PREFIX_BYTES> prefix;
  prefix[0] = 0;
  prefix[1] = static_cast<kj::byte>(messageBytes >> 24);
  prefix[2] = static_cast<kj::byte>(messageBytes >> 16);
  prefix[3] = static_cast<kj::byte>(messageBytes >> 8);
  prefix[4] = static_cast<kj::byte>(messageBytes);
  return prefix;
}

kj::Maybe<Status> RequestAssembler::add(kj::ArrayPtr<const kj::byte> bytes) {
  if (prefixFilled < PREFIX_BYTES) {
    KJ_IF_MAYBE (status, addToPrefix(bytes)) {
      return kj::mv(*status);
    }
  }
  if (bytes.size() == 0) return nullptr;
  return addToMessage(bytes);
}

kj::Maybe<Status> RequestAssembler::addToPrefix(kj::ArrayPtr<const kj::byte>& bytes) {
  size_t taken = kj::min(bytes.size(), PREFIX_BYTES - prefixFilled);
  memcpy(prefix + prefixFilled, bytes.begin(), taken);
  prefixFilled += taken;
  bytes = bytes.slice(taken, bytes.size());
  if (prefixFilled < PREFIX_BYTES) return nullptr;

  messageBytes = size_t(prefix[1]) << 24 | size_t(prefix[2]) << 16 | size_t(prefix[3]) << 8 |
                 size_t(prefix[4]);
  if (prefix[0] > COMPRESSED) {
    return Status{Code::INTERNAL, kj::str("the request's compression flag is ",
                                          static_cast<uint32_t>(prefix[0]), ", not 0 or 1")};
  }
  if (prefix[0] == COMPRESSED && encoding == Encoding::IDENTITY) {
    return Status{Code::INTERNAL,
                  kj::str("the request is marked compressed but its grpc-encoding is not given")};
  }
  if (messageBytes > maxMessageBytes) {
    return Status{Code::RESOURCE_EXHAUSTED,
                  kj::str("the request of ", messageBytes, " bytes exceeds the limit of ",
                          maxMessageBytes, " bytes")};
  }
  return nullptr;
}

kj::Maybe<Status> RequestAssembler::addToMessage(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() > messageBytes - messageFilled) {
    // What gRPC's table of statuses says of too many request messages.
    return Status{Code::UNIMPLEMENTED,
                  kj::str("the method takes one request message, and more than one came")};
  }
  if (!lease.tryGrow(bytes.size())) {
    return Status{Code::RESOURCE_EXHAUSTED,
                  kj::str("the server already holds as many bytes of messages as it may")};
  }
  reserve(messageFilled + bytes.size());
  memcpy(message.begin() + messageFilled, bytes.begin(), bytes.size());
  messageFilled += bytes.size();
  return nullptr;
}

void RequestAssembler::reserve(size_t bytes) {
  if (bytes <= message.size()) return;
  size_t size = kj::max(kj::max(bytes, 2 * message.size()), FIRST_RESERVE_BYTES);
  auto larger = kj::heapArray<kj::byte>(kj::min(size, messageBytes));
  if (messageFilled > 0) memcpy(larger.begin(), message.begin(), messageFilled);
  message = kj::mv(larger);
}

kj::OneOf<kj::Array<kj::byte>, Status> RequestAssembler::finish() {
  if (prefixFilled == 0) {
    return Status{Code::UNIMPLEMENTED,
                  kj::str("the method takes one request message, and none came")};
  }
  if (prefixFilled < PREFIX_BYTES || messageFilled < messageBytes) {
    return Status{Code::INTERNAL, kj::str("the request ends in the middle of its message")};
  }
  if (prefix[0] != COMPRESSED) return kj::mv(message);
  auto compressed = kj::mv(message);
  return gunzip(compressed, maxMessageBytes, lease);
}

}  // namespace belay::criapi::grpc
