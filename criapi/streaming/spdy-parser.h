// Cuts a client's bytes into SPDY/3 frames.
#pragma once

#include <kj/array.h>
#include <kj/vector.h>
#include <stdint.h>

namespace belay::criapi::streaming {

// Frame types, draft-mbelshe-httpbis-spdy-00 section 2.6.
enum class SpdyType : uint16_t {
  SYN_STREAM = 1,
  SYN_REPLY = 2,
  RST_STREAM = 3,
  SETTINGS = 4,
  PING = 6,
  GOAWAY = 7,
  HEADERS = 8,
  WINDOW_UPDATE = 9,
};

constexpr kj::byte SPDY_FLAG_FIN = 1;
constexpr kj::byte SPDY_FLAG_UNIDIRECTIONAL = 2;

class SpdyFrameHandler {
 public:
  // A piece of a data frame's payload, never empty, as it arrives.
  virtual void dataArrived(uint32_t streamId, kj::ArrayPtr<const kj::byte> bytes) = 0;
  // A data frame is over; `fin` if the client half-closed the stream with it.
  virtual void dataEnded(uint32_t streamId, bool fin) = 0;
  // A control frame of a known type, whole.
  virtual void controlArrived(SpdyType type, kj::byte flags,
                              kj::ArrayPtr<const kj::byte> payload) = 0;

 protected:
  ~SpdyFrameHandler() = default;
};

// Takes bytes in whatever pieces they come. Data is passed on without being kept or copied; of
// control frames those that matter are collected, up to MAX_CONTROL_BYTES, and others passed over.
class SpdyParser {
 public:
  static constexpr size_t MAX_CONTROL_BYTES = 64 * 1024;

  // Throws on what no SPDY/3 client sends; the parser must then not be used any more.
  void feed(kj::ArrayPtr<const kj::byte> bytes, SpdyFrameHandler& handler);

 private:
  kj::byte header[8];
  size_t headerBytes = 0;
  bool inPayload = false;
  // Of the frame's payload, still to come.
  uint32_t remaining = 0;
  kj::Vector<kj::byte> control;

  bool isControl() const { return (header[0] & 0x80) != 0; }
  bool isWanted() const;
  void beginPayload(SpdyFrameHandler& handler);
  void endPayload(SpdyFrameHandler& handler);
};

}  // namespace belay::criapi::streaming
