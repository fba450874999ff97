// A client that speaks SPDY/3.1.
#pragma once

#include <kj/async-io.h>

#include <map>

#include "criapi/streaming/activity.h"
#include "criapi/streaming/frame-writer.h"
#include "criapi/streaming/input-backlog.h"
#include "criapi/streaming/spdy-headers.h"
#include "criapi/streaming/spdy-parser.h"

namespace belay::criapi::streaming {

class SpdyConnection final : public Connection, private SpdyFrameHandler {
 public:
  // Open at the same time; a port-forward needs two for each connection.
  static constexpr size_t MAX_STREAMS = 512;

  // `early` are bytes that came with the request's head. The references outlive the connection.
  SpdyConnection(kj::AsyncIoStream& client, kj::Array<kj::byte> early, InputBacklog& backlog,
                 Activity& activity);
  ~SpdyConnection() noexcept(false);

  kj::Promise<void> run(StreamAcceptor& acceptor) override;
  kj::Promise<void> finish() override;

 private:
  class SpdyStream;

  static constexpr size_t READ_BYTES = 64 * 1024;
  static constexpr size_t PIECE_BYTES = 64 * 1024;

  kj::AsyncIoStream& client;
  kj::Array<kj::byte> early;
  InputBacklog& backlog;
  Activity& activity;
  FrameWriter writer;
  SpdyParser parser;
  SpdyHeaderReader headerReader;
  SpdyHeaderWriter headerWriter;
  StreamAcceptor* acceptor = nullptr;
  std::map<uint32_t, SpdyStream*> streams;
  uint32_t lastStreamId = 0;

  kj::Promise<void> readFrames();
  void dataArrived(uint32_t streamId, kj::ArrayPtr<const kj::byte> bytes) override;
  void dataEnded(uint32_t streamId, bool fin) override;
  void controlArrived(SpdyType type, kj::byte flags, kj::ArrayPtr<const kj::byte> payload) override;

  void streamOpened(kj::byte flags, kj::ArrayPtr<const kj::byte> payload);
  void streamReset(kj::ArrayPtr<const kj::byte> payload);
  void forgetAborted(uint32_t streamId);
  SpdyStream* find(uint32_t streamId);
  void sendControl(SpdyType type, kj::ArrayPtr<const kj::byte> payload);
  void sendReset(uint32_t streamId, uint32_t status);
};

}  // namespace belay::criapi::streaming
