// See status.h.
#include "criapi/grpc/status.h"

#include <kj/vector.h>

#include "criapi/grpc/utf8.h"

namespace belay::criapi::grpc {

namespace {

constexpr kj::StringPtr ELLIPSIS = "\xE2\x80\xA6"_kj;
constexpr size_t ENCODED_ELLIPSIS_BYTES = 9;

bool isPlain(char c) {
  return c >= 0x20 && c <= 0x7E && c != '%';
}
bool isContinuation(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

void encode(kj::ArrayPtr<const char> text, kj::Vector<char>& out) {
  constexpr char HEX[] = "0123456789ABCDEF";
  for (char c : text) {
    if (isPlain(c)) {
      out.add(c);
    } else {
      uint8_t byte = static_cast<uint8_t>(c);
      out.add('%');
      out.add(HEX[byte >> 4]);
      out.add(HEX[byte & 15]);
    }
  }
}

// How much of the text encodes to at most `limit` bytes, in whole characters.
size_t fittingPrefix(kj::ArrayPtr<const char> text, size_t limit) {
  size_t fitting = 0, encoded = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!isContinuation(text[i])) fitting = i;
    encoded += isPlain(text[i]) ? 1 : 3;
    if (encoded > limit) return fitting;
  }
  return text.size();
}

}  // namespace

kj::StringPtr nameOf(Code code) {
  switch (code) {
    case Code::OK:
      return "OK";
    case Code::CANCELLED:
      return "CANCELLED";
    case Code::UNKNOWN:
      return "UNKNOWN";
    case Code::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case Code::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case Code::NOT_FOUND:
      return "NOT_FOUND";
    case Code::ALREADY_EXISTS:
      return "ALREADY_EXISTS";
    case Code::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case Code::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case Code::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case Code::ABORTED:
      return "ABORTED";
    case Code::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case Code::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case Code::INTERNAL:
      return "INTERNAL";
    case Code::UNAVAILABLE:
      return "UNAVAILABLE";
    case Code::DATA_LOSS:
      return "DATA_LOSS";
    case Code::UNAUTHENTICATED:
      return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

Status statusOfKjException(const kj::Exception& exception) {
  auto code = [&] {
    switch (exception.getType()) {
      case kj::Exception::Type::DISCONNECTED:
        return Code::UNAVAILABLE;
      case kj::Exception::Type::UNIMPLEMENTED:
        return Code::UNIMPLEMENTED;
      case kj::Exception::Type::OVERLOADED:
        return Code::RESOURCE_EXHAUSTED;
      case kj::Exception::Type::FAILED:
        break;
    }
    return Code::INTERNAL;
  }();
  return {code, kj::str(exception.getDescription())};
}

kj::String encodeMessage(kj::StringPtr message) {
  // Sanitizing at most triples a byte, and no more than the limit is needed of it.
  auto text = sanitizeUtf8(
      message.asArray().slice(0, kj::min(message.size(), MAX_ENCODED_MESSAGE_BYTES + 1)));
  kj::Vector<char> out(text.size() + 1);
  size_t whole = fittingPrefix(text, MAX_ENCODED_MESSAGE_BYTES);
  if (whole == text.size()) {
    encode(text, out);
  } else {
    size_t cut = fittingPrefix(text, MAX_ENCODED_MESSAGE_BYTES - ENCODED_ELLIPSIS_BYTES);
    encode(text.slice(0, cut), out);
    encode(ELLIPSIS, out);
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

}  // namespace belay::criapi::grpc
