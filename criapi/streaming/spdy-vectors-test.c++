// Frames as another implementation writes them: the output of test/streaming/spdy_vectors.go.
#include <gtest/gtest.h>
#include <kj/encoding.h>

#include <string>
#include <vector>

#include "criapi/streaming/spdy-headers.h"
#include "criapi/streaming/spdy-parser.h"

namespace belay::criapi::streaming {
namespace {

constexpr const char* VECTORS[] = {
    "800300010000003f0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c"
    "60616061c0c0c0c0590489c64c50f266323407000000ffff",
    "0000000101000000",
    "800300010000001800000003000000000000c2aa1b54102512a119000000ffff",
    "000000030000000568656c6c6f",
    "800300060000000400000005",
    "80030003000000080000000300000005",
    "80030007000000080000000000000000",
};

struct Recorder final : SpdyFrameHandler {
  SpdyHeaderReader reader;
  std::vector<std::string> events;
  std::string data;

  void dataArrived(uint32_t, kj::ArrayPtr<const kj::byte> bytes) override {
    data.append(bytes.asChars().begin(), bytes.size());
  }

  void dataEnded(uint32_t streamId, bool fin) override {
    events.push_back("data " + std::to_string(streamId) + " '" + data + "'" + (fin ? " fin" : ""));
    data.clear();
  }

  void controlArrived(SpdyType type, kj::byte, kj::ArrayPtr<const kj::byte> payload) override {
    if (type != SpdyType::SYN_STREAM) {
      events.push_back("control " + std::to_string(static_cast<int>(type)) + " of " +
                       std::to_string(payload.size()));
      return;
    }
    KJ_IF_MAYBE (headers, parseSpdyHeaders(reader.decompress(payload.slice(10, payload.size())))) {
      events.push_back(std::string(headers->type.cStr()) + " " + headers->port.cStr() + " " +
                       headers->requestId.cStr());
    } else {
      events.push_back("wrong headers");
    }
  }
};

void feedVectors(Recorder& recorder, size_t piece) {
  SpdyParser parser;
  kj::Vector<kj::byte> all;
  for (auto* vector : VECTORS)
    all.addAll(kj::decodeHex(kj::StringPtr(vector)));
  for (size_t at = 0; at < all.size(); at += piece)
    parser.feed(all.slice(at, kj::min(at + piece, all.size())), recorder);
}

TEST(SpdyVectorsTest, AreUnderstoodInPiecesOfAnySize) {
  const std::vector<std::string> expected = {"error 8080 17",  "data 1 '' fin",  "data 8080 17",
                                             "data 3 'hello'", "control 6 of 4", "control 3 of 8",
                                             "control 7 of 8"};
  for (size_t piece : {1, 2, 3, 7, 8, 9, 100, 10000}) {
    Recorder recorder;
    feedVectors(recorder, piece);
    EXPECT_EQ(recorder.events, expected) << "in pieces of " << piece;
  }
}

}  // namespace
}  // namespace belay::criapi::streaming
