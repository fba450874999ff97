// Cuts a client's bytes into SPDY/3 frames.
#include "criapi/streaming/spdy-parser.h"

#include <kj/debug.h>
#include <string.h>

#include "criapi/streaming/big-endian.h"

namespace belay::criapi::streaming {
namespace {

constexpr uint16_t VERSION = 3;
constexpr uint32_t STREAM_ID_MASK = 0x7fffffff;

}  // namespace

void SpdyParser::feed(kj::ArrayPtr<const kj::byte> bytes, SpdyFrameHandler& handler) {
  while (bytes.size() > 0) {
    if (!inPayload) {
      size_t count = kj::min(bytes.size(), sizeof(header) - headerBytes);
      memcpy(header + headerBytes, bytes.begin(), count);
      headerBytes += count;
      bytes = bytes.slice(count, bytes.size());
      if (headerBytes == sizeof(header)) beginPayload(handler);
      continue;
    }
    auto piece = bytes.slice(0, kj::min<size_t>(bytes.size(), remaining));
    bytes = bytes.slice(piece.size(), bytes.size());
    remaining -= piece.size();
    if (!isControl()) {
      handler.dataArrived(readBigEndian32(header), piece);
    } else if (isWanted()) {
      control.addAll(piece);
    }
    if (remaining == 0) endPayload(handler);
  }
}

bool SpdyParser::isWanted() const {
  switch (static_cast<SpdyType>(header[2] << 8 | header[3])) {
    case SpdyType::SYN_STREAM:
    case SpdyType::SYN_REPLY:
    case SpdyType::HEADERS:
    case SpdyType::RST_STREAM:
    case SpdyType::PING:
    case SpdyType::GOAWAY:
      return true;
    // Nobody who speaks SPDY here uses windows or settings.
    case SpdyType::SETTINGS:
    case SpdyType::WINDOW_UPDATE:
      return false;
  }
  return false;
}

void SpdyParser::beginPayload(SpdyFrameHandler& handler) {
  remaining = readBigEndian24(kj::arrayPtr(header + 5, 3));
  if (isControl()) {
    uint16_t version = (header[0] & 0x7f) << 8 | header[1];
    KJ_REQUIRE(version == VERSION, "The client speaks another version of SPDY.", version);
    KJ_REQUIRE(!isWanted() || remaining <= MAX_CONTROL_BYTES, "A control frame is too big.",
               remaining);
  }
  inPayload = true;
  if (remaining == 0) endPayload(handler);
}

void SpdyParser::endPayload(SpdyFrameHandler& handler) {
  inPayload = false;
  headerBytes = 0;
  kj::byte flags = header[4];
  if (!isControl()) {
    handler.dataEnded(readBigEndian32(header) & STREAM_ID_MASK, (flags & SPDY_FLAG_FIN) != 0);
  } else if (isWanted()) {
    auto payload = kj::mv(control);
    handler.controlArrived(static_cast<SpdyType>(header[2] << 8 | header[3]), flags, payload);
  }
}

}  // namespace belay::criapi::streaming
