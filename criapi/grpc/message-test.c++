// Tests of what a request's bytes become: framing, gzip, budgets, deadlines; and of the reply
// queue.
#include "criapi/grpc/message.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <zlib.h>

#include <string>

#include "criapi/grpc/gzip.h"
#include "criapi/grpc/reply-queue.h"
#include "criapi/grpc/timeout.h"
#include "criapi/grpc/token-bucket.h"

namespace belay::criapi::grpc {

namespace {

constexpr size_t LIMIT = 1000;

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::string framed(const std::string& message, char flag = 0) {
  auto prefix = framePrefix(message.size());
  prefix[0] = static_cast<kj::byte>(flag);
  return std::string(reinterpret_cast<const char*>(prefix.begin()), prefix.size()) + message;
}

std::string gzipped(const std::string& text) {
  z_stream stream{};
  KJ_ASSERT(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  KJ_DEFER(deflateEnd(&stream));
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = text.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  KJ_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  return out;
}

struct Outcome {
  Code code;
  std::string text;  // the message, or the status's sentence
};

// Feeds a body in pieces of `step` bytes.
Outcome assemble(ByteBudget& budget, const std::string& body,
                 Encoding encoding = Encoding::IDENTITY, size_t step = 7) {
  RequestAssembler assembler(LIMIT, budget);
  assembler.setEncoding(encoding);
  for (size_t i = 0; i < body.size(); i += step) {
    KJ_IF_MAYBE (status, assembler.add(bytesOf(body.substr(i, step)))) {
      return {status->code, status->message.cStr()};
    }
  }
  auto result = assembler.finish();
  KJ_IF_MAYBE (status, result.tryGet<Status>()) {
    return {status->code, status->message.cStr()};
  }
  auto& message = result.get<kj::Array<kj::byte>>();
  return {Code::OK, std::string(message.asChars().begin(), message.size())};
}

class Request : public ::testing::Test {
 protected:
  ByteBudget budget{1 << 20};

  // Whatever became of the request, nothing may stay taken.
  void TearDown() override { EXPECT_EQ(budget.used(), 0u); }
};

TEST_F(Request, IsAssembledFromPiecesOfAnySize) {
  for (size_t size : {0, 1, 6, 7, 8, 999, 1000}) {
    std::string message(size, 'm');
    for (size_t step : {1, 4, 5, 6, 2000}) {
      auto outcome = assemble(budget, framed(message), Encoding::IDENTITY, step);
      EXPECT_EQ(outcome.code, Code::OK);
      EXPECT_EQ(outcome.text, message);
    }
  }
}

TEST_F(Request, AboveTheLimitIsRefusedByItsPrefixAlone) {
  RequestAssembler assembler(LIMIT, budget);
  auto prefix = framePrefix(LIMIT + 1);
  auto status = KJ_ASSERT_NONNULL(assembler.add(kj::arrayPtr(prefix.begin(), prefix.size())));
  EXPECT_EQ(status.code, Code::RESOURCE_EXHAUSTED);
  EXPECT_STREQ(status.message.cStr(), "the request of 1001 bytes exceeds the limit of 1000 bytes");
}

TEST_F(Request, MustHaveExactlyOneMessage) {
  EXPECT_EQ(assemble(budget, "").code, Code::UNIMPLEMENTED);
  EXPECT_EQ(assemble(budget, framed("a") + framed("b")).code, Code::UNIMPLEMENTED);
}

TEST_F(Request, CutShortIsInternal) {
  EXPECT_EQ(assemble(budget, framed("message").substr(0, 3)).code, Code::INTERNAL);
  EXPECT_EQ(assemble(budget, framed("message").substr(0, 8)).code, Code::INTERNAL);
}

TEST_F(Request, WithAWrongCompressionFlagIsInternal) {
  EXPECT_EQ(assemble(budget, framed("m", 2), Encoding::GZIP).code, Code::INTERNAL);
  EXPECT_EQ(assemble(budget, framed(gzipped("m"), 1), Encoding::IDENTITY).code, Code::INTERNAL);
}

TEST_F(Request, OutOfBudgetIsRefused) {
  ByteBudget small(100, budget);
  EXPECT_EQ(assemble(small, framed(std::string(100, 'm'))).code, Code::OK);
  EXPECT_EQ(assemble(small, framed(std::string(101, 'm'))).code, Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(small.used(), 0u);
}

TEST_F(Request, TakesMemoryForWhatArrivedAndNotForWhatIsClaimed) {
  RequestAssembler assembler(LIMIT, budget);
  EXPECT_TRUE(assembler.add(bytesOf(framed(std::string(LIMIT, 'm')).substr(0, 15))) == nullptr);
  EXPECT_EQ(budget.used(), 10u);
}

TEST_F(Request, MayBeGzipped) {
  std::string message(LIMIT, 'm');
  EXPECT_EQ(assemble(budget, framed(gzipped(message), 1), Encoding::GZIP).text, message);
  EXPECT_EQ(assemble(budget, framed(gzipped(""), 1), Encoding::GZIP).code, Code::OK);
  // With the encoding announced, a single message may still be plain.
  EXPECT_EQ(assemble(budget, framed(message), Encoding::GZIP).text, message);
}

TEST_F(Request, ThatInflatesBeyondTheLimitIsRefused) {
  auto outcome = assemble(budget, framed(gzipped(std::string(LIMIT + 1, 'm')), 1), Encoding::GZIP);
  EXPECT_EQ(outcome.code, Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(outcome.text, "the request inflates to more than the limit of 1000 bytes");

  ByteBudget small(500, budget);
  outcome = assemble(small, framed(gzipped(std::string(LIMIT, 'm')), 1), Encoding::GZIP);
  EXPECT_EQ(outcome.code, Code::RESOURCE_EXHAUSTED);
}

TEST_F(Request, WithBrokenGzipIsInternal) {
  std::string whole = gzipped("message");
  std::string damaged = whole;
  damaged[whole.size() - 6] ^= 1;  // in the CRC
  for (auto& body : {std::string("no gzip"), std::string(), whole.substr(0, whole.size() - 4),
                     damaged, whole + "more"}) {
    EXPECT_EQ(assemble(budget, framed(body, 1), Encoding::GZIP).code, Code::INTERNAL);
  }
}

TEST(ByteBudget, ChildrenTakeFromTheirParent) {
  ByteBudget whole(100);
  ByteBudget first(80, whole), second(80, whole);
  EXPECT_TRUE(first.tryTake(80));
  EXPECT_FALSE(first.tryTake(1));
  EXPECT_FALSE(second.tryTake(21));
  EXPECT_EQ(second.used(), 0u);
  EXPECT_TRUE(second.tryTake(20));
  first.giveBack(80);
  EXPECT_EQ(whole.used(), 20u);
}

TEST(ReplyQueue, GivesFramedBytesInAnyPieces) {
  for (size_t step = 1; step < 20; ++step) {
    ByteBudget budget(1000);
    ReplyQueue queue(budget);
    std::string expected;
    for (std::string message : {"one", "", "three"}) {
      ASSERT_TRUE(queue.tryPush(kj::heapArray(bytesOf(message))));
      expected += framed(message);
    }
    EXPECT_EQ(queue.size(), expected.size());
    EXPECT_EQ(budget.used(), expected.size());

    kj::Vector<kj::byte> out;
    while (queue.size() > 0)
      queue.take(kj::min(step, queue.size()), out);
    EXPECT_EQ(std::string(out.asPtr().asChars().begin(), out.size()), expected);
    EXPECT_EQ(budget.used(), 0u);
  }
}

TEST(ReplyQueue, KnowsWhetherItIsMidMessage) {
  ByteBudget budget(1000);
  ReplyQueue queue(budget);
  kj::Vector<kj::byte> out;
  ASSERT_TRUE(queue.tryPush(kj::heapArray(bytesOf("message"))));
  EXPECT_FALSE(queue.isMidMessage());
  queue.take(1, out);
  EXPECT_TRUE(queue.isMidMessage());
  queue.clear();
  EXPECT_FALSE(queue.isMidMessage());
  EXPECT_EQ(budget.used(), 0u);
}

TEST(ReplyQueue, RefusesWhatTheBudgetDoesNotAllow) {
  ByteBudget budget(10);
  ReplyQueue queue(budget);
  EXPECT_FALSE(queue.tryPush(kj::heapArray<kj::byte>(6)));
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_TRUE(queue.tryPush(kj::heapArray<kj::byte>(5)));
}

TEST(Timeout, ReadsEveryUnit) {
  auto parsed = [](kj::StringPtr text) { return KJ_ASSERT_NONNULL(parseTimeout(text)); };
  EXPECT_EQ(parsed("2H"), 2 * kj::HOURS);
  EXPECT_EQ(parsed("3M"), 3 * kj::MINUTES);
  EXPECT_EQ(parsed("4S"), 4 * kj::SECONDS);
  EXPECT_EQ(parsed("1500m"), 1500 * kj::MILLISECONDS);
  EXPECT_EQ(parsed("6u"), 6 * kj::MICROSECONDS);
  EXPECT_EQ(parsed("99999999n"), 99999999 * kj::NANOSECONDS);
  EXPECT_EQ(parsed("0S"), 0 * kj::SECONDS);
  EXPECT_EQ(parsed("99999999H"), MAX_TIMEOUT);
}

TEST(Timeout, RefusesAnythingElse) {
  for (kj::StringPtr text :
       {"", "S", "5", "5s", "-1S", "+1S", " 1S", "1 S", "1.5S", "123456789S"}) {
    EXPECT_TRUE(parseTimeout(text) == nullptr) << text.cStr();
  }
}

TEST(TokenBucket, RefillsWithTime) {
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  TokenBucket bucket(timer, 2, 10);
  EXPECT_TRUE(bucket.tryTake());
  EXPECT_TRUE(bucket.tryTake());
  EXPECT_FALSE(bucket.tryTake());
  timer.advanceTo(timer.now() + 100 * kj::MILLISECONDS);
  EXPECT_TRUE(bucket.tryTake());
  EXPECT_FALSE(bucket.tryTake());
  timer.advanceTo(timer.now() + 1 * kj::HOURS);
  EXPECT_TRUE(bucket.tryTake());
  EXPECT_TRUE(bucket.tryTake());
  EXPECT_FALSE(bucket.tryTake());
}

}  // namespace

}  // namespace belay::criapi::grpc
