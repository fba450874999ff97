// See pull-error.h.
#include "snapshot/pull/pull-error.h"

#include <capnp/dynamic.h>

namespace belay::snapshot {

namespace {

kj::Maybe<kj::StringPtr> nameOf(FailureCode code) {
  KJ_IF_MAYBE (enumerant, capnp::DynamicEnum(capnp::toDynamic(code)).getEnumerant()) {
    return enumerant->getProto().getName();
  }
  return nullptr;
}

struct Parts {
  FailureCode code;
  kj::StringPtr sentence;
};

// Takes "code: sentence" apart.
Parts partsOf(kj::StringPtr description) {
  KJ_IF_MAYBE (colon, description.findFirst(':')) {
    kj::String word = kj::heapString(description.slice(0, *colon));
    for (auto enumerant : capnp::Schema::from<FailureCode>().getEnumerants()) {
      if (word == enumerant.getProto().getName() && description.size() > *colon + 1) {
        return {static_cast<FailureCode>(enumerant.getOrdinal()), description.slice(*colon + 2)};
      }
    }
  }
  return {FailureCode::INTERNAL, description};
}

}  // namespace

kj::Exception pullError(FailureCode code, kj::StringPtr sentence) {
  kj::StringPtr name = KJ_REQUIRE_NONNULL(nameOf(code));
  return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__,
                       kj::str(name, ": ", sentence));
}

FailureCode pullErrorCode(const kj::Exception& exception) {
  return partsOf(exception.getDescription()).code;
}

kj::String pullErrorSentence(const kj::Exception& exception) {
  return oneLine(partsOf(exception.getDescription()).sentence, MAX_SENTENCE_BYTES);
}

kj::String oneLine(kj::StringPtr text, size_t maxBytes) {
  size_t length = kj::min(text.size(), maxBytes);
  kj::String line = kj::heapString(text.slice(0, length));
  for (char& c : line.asArray().slice(0, length)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line;
}

}  // namespace belay::snapshot
