// The head of a client's HTTP/1.1 request.
#include "criapi/streaming/http-head.h"

#include <string.h>

#include <algorithm>
#include <string_view>

namespace belay::criapi::streaming {
namespace {

// kj joins repeated headers, each time anew: without a bound on their number that would be
// quadratic.
constexpr size_t MAX_LINES = 100;

struct Headers {
  kj::Own<kj::HttpHeaderTable> table;
  kj::HttpHeaderId streamProtocol, webSocketProtocol;

  Headers() {
    kj::HttpHeaderTable::Builder builder;
    streamProtocol = builder.add("X-Stream-Protocol-Version");
    webSocketProtocol = builder.add("Sec-WebSocket-Protocol");
    table = builder.build();
  }
};

kj::StringPtr nameOf(unsigned status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
  }
  return "Error";
}

// One past the empty line that ends a head; 0 if it has not come. `from` was looked at before.
size_t findEnd(kj::ArrayPtr<const char> bytes, size_t from) {
  std::string_view text(bytes.begin(), bytes.size());
  size_t at = text.find("\r\n\r\n", from < 3 ? 0 : from - 3);
  return at == std::string_view::npos ? 0 : at + 4;
}

}  // namespace

kj::OneOf<RequestHead, Refusal> parseHead(kj::ArrayPtr<const char> bytes) {
  static const Headers names;

  if (std::count(bytes.begin(), bytes.end(), '\n') > static_cast<ptrdiff_t>(MAX_LINES)) {
    return Refusal{431, kj::str("The request has more than ", MAX_LINES, " header lines.")};
  }
  auto text = kj::heapArray<char>(bytes);
  kj::HttpHeaders headers(*names.table);
  auto parsed = headers.tryParseRequest(text);
  if (parsed.is<kj::HttpHeaders::ProtocolError>()) {
    auto& error = parsed.get<kj::HttpHeaders::ProtocolError>();
    return Refusal{error.statusCode, kj::str(error.description)};
  }
  auto& request = parsed.get<kj::HttpHeaders::Request>();
  auto value = [&](kj::HttpHeaderId id) {
    KJ_IF_MAYBE (text, headers.get(id)) return kj::str(*text);
    return kj::String();
  };
  RequestHead head;
  head.method = request.method;
  head.target = kj::str(request.url);
  head.connection = value(kj::HttpHeaderId::CONNECTION);
  head.upgrade = value(kj::HttpHeaderId::UPGRADE);
  head.streamProtocols = value(names.streamProtocol);
  head.webSocketProtocols = value(names.webSocketProtocol);
  head.webSocketVersion = value(kj::HttpHeaderId::SEC_WEBSOCKET_VERSION);
  head.webSocketKey = value(kj::HttpHeaderId::SEC_WEBSOCKET_KEY);
  return kj::mv(head);
}

kj::Promise<kj::Maybe<kj::OneOf<RequestHead, Refusal>>> readHead(kj::AsyncInputStream& client) {
  auto buffer = kj::heapArray<char>(MAX_HEAD_BYTES);
  size_t filled = 0;
  for (;;) {
    if (filled == buffer.size()) {
      co_return kj::OneOf<RequestHead, Refusal>(
          Refusal{431, kj::str("The request's head is larger than 64 KiB.")});
    }
    size_t count = co_await client.tryRead(buffer.begin() + filled, 1, buffer.size() - filled);
    if (count == 0) co_return nullptr;
    size_t end = findEnd(buffer.slice(0, filled + count), filled);
    filled += count;
    if (end == 0) continue;
    auto result = parseHead(buffer.slice(0, end));
    if (result.is<RequestHead>()) {
      result.get<RequestHead>().early =
          kj::heapArray<kj::byte>(buffer.slice(end, filled).asBytes());
    }
    co_return kj::mv(result);
  }
}

kj::String refusalResponse(const Refusal& refusal) {
  return kj::str(
      "HTTP/1.1 ", refusal.status, " ", nameOf(refusal.status),
      "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ", refusal.text.size() + 1,
      "\r\nConnection: close\r\n", refusal.headers, "\r\n", refusal.text, "\n");
}

}  // namespace belay::criapi::streaming
