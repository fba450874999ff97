// A client that speaks SPDY/3.1.
#include "criapi/streaming/spdy-connection.h"

#include <kj/debug.h>
#include <string.h>

#include "criapi/streaming/big-endian.h"

namespace belay::criapi::streaming {
namespace {

// Why a stream is reset; section 2.6.3.
constexpr uint32_t PROTOCOL_ERROR = 1;
constexpr uint32_t INVALID_STREAM = 2;
constexpr uint32_t REFUSED_STREAM = 3;
constexpr uint32_t CANCEL = 5;

// Why we leave; section 2.6.6.
constexpr uint32_t GOAWAY_OK = 0;
constexpr uint32_t GOAWAY_PROTOCOL_ERROR = 1;

}  // namespace

class SpdyConnection::SpdyStream final : public Stream, private Framer {
 public:
  SpdyStream(SpdyConnection& connection, uint32_t id, kj::byte flags)
      : connection(connection),
        id(id),
        weEnded((flags & SPDY_FLAG_UNIDIRECTIONAL) != 0),
        clientEnded((flags & SPDY_FLAG_FIN) != 0) {}

  ~SpdyStream() noexcept(false) override {
    if (!aborted) connection.streams.erase(id);
    if (aborted || (accepted && weEnded && clientEnded)) return;
    connection.sendReset(id, accepted ? CANCEL : REFUSED_STREAM);
  }

  void accept(Receiver& to) override {
    accepted = true;
    receiver = to;
    auto block = connection.headerWriter.emptyBlock();
    auto payload = kj::heapArray<kj::byte>(4 + block.size());
    writeBigEndian32(payload.begin(), id);
    memcpy(payload.begin() + 4, block.begin(), block.size());
    connection.sendControl(SpdyType::SYN_REPLY, payload);
    if (clientEnded) to.ended();
  }

  kj::Promise<kj::Maybe<size_t>> send(ByteSource& source) override {
    return connection.writer.sendPiece(source, *this);
  }

  void end() override {
    if (weEnded || aborted) return;
    weEnded = true;
    kj::byte frame[8];
    writeBigEndian32(frame, id);
    writeBigEndian32(frame + 4, uint32_t{SPDY_FLAG_FIN} << 24);
    connection.writer.sendControl(kj::arrayPtr(frame, sizeof(frame)));
  }

  void receive(kj::ArrayPtr<const kj::byte> bytes) {
    if (clientEnded) return;
    KJ_IF_MAYBE (to, receiver) to->received(bytes);
  }

  void endInput() {
    if (clientEnded) return;
    clientEnded = true;
    KJ_IF_MAYBE (to, receiver) to->ended();
  }

  // The connection has forgotten the stream already.
  void abort() {
    aborted = true;
    KJ_IF_MAYBE (to, receiver) to->aborted();
  }

 private:
  SpdyConnection& connection;
  uint32_t id;
  bool accepted = false;
  bool weEnded;
  bool clientEnded;
  bool aborted = false;
  kj::Maybe<Receiver&> receiver;

  size_t writeHeader(kj::ArrayPtr<kj::byte> space, size_t payloadBytes) override {
    connection.activity.touch();
    writeBigEndian32(space.begin(), id);
    writeBigEndian32(space.begin() + 4, payloadBytes);
    return 8;
  }
};

SpdyConnection::SpdyConnection(kj::AsyncIoStream& client, kj::Array<kj::byte> early,
                               InputBacklog& backlog, Activity& activity)
    : client(client),
      early(kj::mv(early)),
      backlog(backlog),
      activity(activity),
      writer(client, PIECE_BYTES) {}

SpdyConnection::~SpdyConnection() noexcept(false) {}

kj::Promise<void> SpdyConnection::run(StreamAcceptor& streamAcceptor) {
  acceptor = &streamAcceptor;
  kj::Maybe<kj::Exception> broken;
  try {
    co_await readFrames();
  } catch (...) {
    broken = kj::getCaughtExceptionAsKj();
  }
  KJ_IF_MAYBE (exception, broken) {
    if (exception->getType() == kj::Exception::Type::DISCONNECTED) co_return;
    kj::byte payload[8];
    writeBigEndian32(payload, lastStreamId);
    writeBigEndian32(payload + 4, GOAWAY_PROTOCOL_ERROR);
    sendControl(SpdyType::GOAWAY, kj::arrayPtr(payload, sizeof(payload)));
    co_await writer.flush();
    kj::throwFatalException(kj::mv(*exception));
  }
}

kj::Promise<void> SpdyConnection::readFrames() {
  auto first = kj::mv(early);
  parser.feed(first, *this);
  first = nullptr;
  auto buffer = kj::heapArray<kj::byte>(READ_BYTES);
  for (;;) {
    co_await backlog.whenBelowLimit();
    co_await writer.whenControlIsSmall();
    size_t count = co_await client.tryRead(buffer.begin(), 1, buffer.size());
    if (count == 0) co_return;
    parser.feed(buffer.slice(0, count), *this);
  }
}

kj::Promise<void> SpdyConnection::finish() {
  kj::byte payload[8];
  writeBigEndian32(payload, lastStreamId);
  writeBigEndian32(payload + 4, GOAWAY_OK);
  sendControl(SpdyType::GOAWAY, kj::arrayPtr(payload, sizeof(payload)));
  co_await writer.flush();
  client.shutdownWrite();
}

void SpdyConnection::dataArrived(uint32_t streamId, kj::ArrayPtr<const kj::byte> bytes) {
  activity.touch();
  auto* stream = find(streamId);
  if (stream != nullptr) stream->receive(bytes);
}

void SpdyConnection::dataEnded(uint32_t streamId, bool fin) {
  auto* stream = find(streamId);
  // For a stream that we have reset, data may still be under way; one that never was is an error.
  if (stream == nullptr && streamId > lastStreamId) sendReset(streamId, INVALID_STREAM);
  if (stream != nullptr && fin) stream->endInput();
}

void SpdyConnection::controlArrived(SpdyType type, kj::byte flags,
                                    kj::ArrayPtr<const kj::byte> payload) {
  switch (type) {
    case SpdyType::SYN_STREAM:
      streamOpened(flags, payload);
      return;
    case SpdyType::SYN_REPLY:
    case SpdyType::HEADERS:
      // Nothing that matters, but the compression goes on.
      KJ_REQUIRE(payload.size() >= 4, "A frame with headers is too short.");
      headerReader.decompress(payload.slice(4, payload.size()));
      return;
    case SpdyType::RST_STREAM:
      streamReset(payload);
      return;
    case SpdyType::PING:
      KJ_REQUIRE(payload.size() == 4, "A PING has the wrong size.", payload.size());
      // Odd ones are the client's own; even ones would answer ours, and we send none.
      if (payload[3] & 1) sendControl(SpdyType::PING, payload);
      return;
    case SpdyType::GOAWAY:
      // The client is about to close.
    case SpdyType::SETTINGS:
    case SpdyType::WINDOW_UPDATE:
      return;
  }
}

void SpdyConnection::streamOpened(kj::byte flags, kj::ArrayPtr<const kj::byte> payload) {
  KJ_REQUIRE(payload.size() >= 10, "A SYN_STREAM is too short.");
  auto block = headerReader.decompress(payload.slice(10, payload.size()));
  uint32_t id = readBigEndian32(payload) & 0x7fffffff;
  if (id % 2 == 0 || id <= lastStreamId) {
    forgetAborted(id);
    sendReset(id, PROTOCOL_ERROR);
    return;
  }
  lastStreamId = id;
  KJ_IF_MAYBE (headers, parseSpdyHeaders(block)) {
    if (streams.size() >= MAX_STREAMS) {
      sendReset(id, REFUSED_STREAM);
      return;
    }
    headers->id = id;
    auto stream = kj::heap<SpdyStream>(*this, id, flags);
    streams[id] = stream;
    acceptor->opened(kj::mv(stream), kj::mv(*headers));
  } else {
    sendReset(id, PROTOCOL_ERROR);
  }
}

void SpdyConnection::streamReset(kj::ArrayPtr<const kj::byte> payload) {
  KJ_REQUIRE(payload.size() == 8, "A RST_STREAM has the wrong size.", payload.size());
  forgetAborted(readBigEndian32(payload) & 0x7fffffff);
}

void SpdyConnection::forgetAborted(uint32_t streamId) {
  auto* stream = find(streamId);
  if (stream == nullptr) return;
  streams.erase(streamId);
  stream->abort();
}

SpdyConnection::SpdyStream* SpdyConnection::find(uint32_t streamId) {
  auto found = streams.find(streamId);
  return found == streams.end() ? nullptr : found->second;
}

void SpdyConnection::sendControl(SpdyType type, kj::ArrayPtr<const kj::byte> payload) {
  kj::Vector<kj::byte> frame(8 + payload.size());
  frame.resize(8);
  writeBigEndian32(frame.begin(), 0x80030000 | static_cast<uint16_t>(type));
  writeBigEndian32(frame.begin() + 4, payload.size());
  frame.addAll(payload);
  writer.sendControl(frame);
}

void SpdyConnection::sendReset(uint32_t streamId, uint32_t status) {
  kj::byte payload[8];
  writeBigEndian32(payload, streamId);
  writeBigEndian32(payload + 4, status);
  sendControl(SpdyType::RST_STREAM, kj::arrayPtr(payload, sizeof(payload)));
}

}  // namespace belay::criapi::streaming
