// What a client asks for, by which protocol, and the answer.
#include "criapi/streaming/upgrade.h"

#include <kj/encoding.h>
#include <openssl/sha.h>
#include <strings.h>

#include <string>
#include <string_view>
#include <vector>

namespace belay::criapi::streaming {
namespace {

constexpr kj::StringPtr CHANNEL_V4 = "v4.channel.k8s.io"_kj;
constexpr kj::StringPtr CHANNEL_V5 = "v5.channel.k8s.io"_kj;

const kj::StringPtr SPDY_CHANNELS[] = {CHANNEL_V4};
const kj::StringPtr SPDY_PORT_FORWARD[] = {"portforward.k8s.io"_kj};
const kj::StringPtr WEBSOCKET_CHANNELS[] = {CHANNEL_V5, CHANNEL_V4};
const kj::StringPtr WEBSOCKET_PORT_FORWARD[] = {"SPDY/3.1+portforward.k8s.io"_kj};

// Tokens of belayd's are shorter.
constexpr size_t MAX_TOKEN_BYTES = 256;

struct Route {
  Kind kind;
  kj::String token;
};

kj::Maybe<Route> findRoute(kj::StringPtr target) {
  std::string_view path(target.begin(), target.size());
  path = path.substr(0, path.find('?'));
  const std::pair<std::string_view, Kind> ROUTES[] = {
      {"/exec/", Kind::EXEC}, {"/attach/", Kind::ATTACH}, {"/portforward/", Kind::PORT_FORWARD}};
  for (auto& [prefix, kind] : ROUTES) {
    if (path.substr(0, prefix.size()) != prefix) continue;
    auto token = path.substr(prefix.size());
    if (token.empty() || token.size() > MAX_TOKEN_BYTES) return nullptr;
    for (char c : token) {
      if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return nullptr;
    }
    return Route{kind, kj::heapString(token.data(), token.size())};
  }
  return nullptr;
}

// The elements of a header that is a list.
std::vector<std::string> split(kj::StringPtr list) {
  std::vector<std::string> elements;
  std::string_view rest(list.begin(), list.size());
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    auto element = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    size_t begin = element.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    elements.emplace_back(element.substr(begin, element.find_last_not_of(" \t") - begin + 1));
  }
  return elements;
}

bool hasToken(kj::StringPtr list, const char* token) {
  for (auto& element : split(list))
    if (strcasecmp(element.c_str(), token) == 0) return true;
  return false;
}

using Protocols = kj::ArrayPtr<const kj::StringPtr>;

// The first that the client names (its order is by preference) and we speak.
kj::Maybe<kj::StringPtr> choose(kj::StringPtr offered, Protocols spoken) {
  for (auto& offer : split(offered)) {
    for (auto& ours : spoken)
      if (ours == offer.c_str()) return ours;
  }
  return nullptr;
}

Refusal noneInCommon(kj::StringPtr header, kj::StringPtr offered, Protocols spoken) {
  kj::Vector<kj::String> lines;
  for (auto& protocol : spoken)
    lines.add(kj::str("X-Accepted-Stream-Protocol-Versions: ", protocol, "\r\n"));
  return {403,
          kj::str("None of the protocols in ", header, " (", offered,
                  ") is spoken here. Spoken are: ", kj::strArray(spoken, ", "), "."),
          kj::strArray(lines, "")};
}

kj::OneOf<Upgrade, Refusal> chooseSpdy(const RequestHead& head, Route route) {
  if (head.streamProtocols.size() == 0) {
    return Refusal{400, kj::str("The request has no X-Stream-Protocol-Version header.")};
  }
  Protocols spoken = route.kind == Kind::PORT_FORWARD ? SPDY_PORT_FORWARD : SPDY_CHANNELS;
  KJ_IF_MAYBE (protocol, choose(head.streamProtocols, spoken)) {
    return Upgrade{route.kind, kj::mv(route.token), Protocol::SPDY,
                   kj::str("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                           "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ",
                           *protocol, "\r\n\r\n")};
  }
  return noneInCommon("X-Stream-Protocol-Version", head.streamProtocols, spoken);
}

// RFC 6455, 4.2.2.
kj::String acceptKey(kj::StringPtr key) {
  auto text = kj::str(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  kj::byte hash[SHA_DIGEST_LENGTH];
  SHA1(text.asBytes().begin(), text.size(), hash);
  return kj::encodeBase64(kj::arrayPtr(hash, sizeof(hash)));
}

bool isWebSocketKey(kj::StringPtr key) {
  auto decoded = kj::decodeBase64(key);
  return !decoded.hadErrors && decoded.size() == 16;
}

kj::OneOf<Upgrade, Refusal> chooseWebSocket(const RequestHead& head, Route route) {
  if (head.method != kj::HttpMethod::GET) {
    return Refusal{405, kj::str("A WebSocket begins with a GET request."),
                   kj::str("Allow: GET\r\n")};
  }
  if (head.webSocketVersion != "13") {
    return Refusal{426, kj::str("Only version 13 of WebSocket is spoken here."),
                   kj::str("Sec-WebSocket-Version: 13\r\n")};
  }
  if (!isWebSocketKey(head.webSocketKey)) {
    return Refusal{400, kj::str("The request's Sec-WebSocket-Key is not 16 bytes in base64.")};
  }
  bool portForward = route.kind == Kind::PORT_FORWARD;
  Protocols spoken =
      portForward ? Protocols(WEBSOCKET_PORT_FORWARD) : Protocols(WEBSOCKET_CHANNELS);
  KJ_IF_MAYBE (protocol, choose(head.webSocketProtocols, spoken)) {
    auto chosen = *protocol == CHANNEL_V5   ? Protocol::WEBSOCKET_V5
                  : *protocol == CHANNEL_V4 ? Protocol::WEBSOCKET_V4
                                            : Protocol::WEBSOCKET_TUNNEL;
    return Upgrade{route.kind, kj::mv(route.token), chosen,
                   kj::str("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                           "Upgrade: websocket\r\nSec-WebSocket-Accept: ",
                           acceptKey(head.webSocketKey), "\r\nSec-WebSocket-Protocol: ", *protocol,
                           "\r\n\r\n")};
  }
  return noneInCommon("Sec-WebSocket-Protocol", head.webSocketProtocols, spoken);
}

}  // namespace

kj::OneOf<Upgrade, Refusal> chooseUpgrade(const RequestHead& head) {
  if (head.method != kj::HttpMethod::GET && head.method != kj::HttpMethod::POST) {
    return Refusal{405, kj::str("Streams are opened with GET or POST."),
                   kj::str("Allow: GET, POST\r\n")};
  }
  KJ_IF_MAYBE (route, findRoute(head.target)) {
    if (hasToken(head.connection, "Upgrade")) {
      if (hasToken(head.upgrade, "SPDY/3.1")) return chooseSpdy(head, kj::mv(*route));
      if (hasToken(head.upgrade, "websocket")) return chooseWebSocket(head, kj::mv(*route));
    }
    return Refusal{400, kj::str("This is a stream: the request must ask for an upgrade to SPDY/3.1 "
                                "or websocket (headers Connection and Upgrade).")};
  }
  return Refusal{404, kj::str("There is nothing here: the paths are /exec/TOKEN, /attach/TOKEN and "
                              "/portforward/TOKEN, with a token from the CRI.")};
}

}  // namespace belay::criapi::streaming
