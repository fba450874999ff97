// See failure.h.
#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

struct Named {
  Code code;
  kj::StringPtr name;
};

constexpr const char* SEPARATOR = ": ";
constexpr size_t SEPARATOR_LENGTH = 2;

kj::ArrayPtr<const Named> allCodes() {
  static const Named CODES[] = {
      {Code::INVALID_ARGUMENT, "INVALID_ARGUMENT"},
      {Code::NOT_FOUND, "NOT_FOUND"},
      {Code::ALREADY_EXISTS, "ALREADY_EXISTS"},
      {Code::FAILED_PRECONDITION, "FAILED_PRECONDITION"},
      {Code::UNAVAILABLE, "UNAVAILABLE"},
      {Code::UNAUTHENTICATED, "UNAUTHENTICATED"},
      {Code::RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
      {Code::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"},
      {Code::UNIMPLEMENTED, "UNIMPLEMENTED"},
      {Code::INTERNAL, "INTERNAL"},
  };
  return kj::arrayPtr(CODES, kj::size(CODES));
}

// The entry whose name starts the description, if failure() made it. A description that came over
// RPC starts with "remote exception: " and so never matches: a peer cannot choose our status.
kj::Maybe<const Named&> namedIn(const kj::Exception& exception) {
  kj::StringPtr description = exception.getDescription();
  for (const Named& named : allCodes()) {
    if (description.startsWith(named.name) &&
        description.slice(named.name.size()).startsWith(SEPARATOR)) {
      return named;
    }
  }
  return nullptr;
}

kj::Exception::Type typeOf(Code code) {
  switch (code) {
    case Code::RESOURCE_EXHAUSTED:
      return kj::Exception::Type::OVERLOADED;
    case Code::UNAVAILABLE:
      return kj::Exception::Type::DISCONNECTED;
    case Code::UNIMPLEMENTED:
      return kj::Exception::Type::UNIMPLEMENTED;
    default:
      return kj::Exception::Type::FAILED;
  }
}

}  // namespace

kj::StringPtr nameOf(Code code) {
  for (const Named& named : allCodes()) {
    if (named.code == code) return named.name;
  }
  return "INTERNAL";
}

kj::Exception failure(Code code, kj::StringPtr sentence, std::source_location where) {
  return kj::Exception(typeOf(code), where.file_name(), where.line(),
                       kj::str(nameOf(code), SEPARATOR, sentence));
}

Code codeOf(const kj::Exception& exception) {
  KJ_IF_MAYBE (named, namedIn(exception)) {
    return named->code;
  }
  switch (exception.getType()) {
    case kj::Exception::Type::OVERLOADED:
      return Code::RESOURCE_EXHAUSTED;
    case kj::Exception::Type::DISCONNECTED:
      return Code::UNAVAILABLE;
    case kj::Exception::Type::UNIMPLEMENTED:
      return Code::UNIMPLEMENTED;
    case kj::Exception::Type::FAILED:
      break;
  }
  return Code::INTERNAL;
}

kj::StringPtr messageOf(const kj::Exception& exception) {
  KJ_IF_MAYBE (named, namedIn(exception)) {
    return exception.getDescription().slice(named->name.size() + SEPARATOR_LENGTH);
  }
  return exception.getDescription();
}

kj::Exception prefixed(const kj::Exception& exception, kj::StringPtr prefix) {
  return failure(codeOf(exception), kj::str(prefix, SEPARATOR, messageOf(exception)));
}

}  // namespace belay::snapshot
