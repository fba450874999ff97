// One-time tokens: once, for a minute, so many, and only for what they were made for.
#include "criapi/streaming/tokens.h"

#include <capnp/message.h>

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "snapshot/failure.h"

namespace belay::criapi::streaming {
namespace {

struct HandClock final : public kj::MonotonicClock {
  kj::TimePoint now() const override { return time; }
  kj::TimePoint time = kj::origin<kj::TimePoint>() + 5 * kj::DAYS;
};

class TokensTest : public ::testing::Test {
 public:
  // KJ's destructors may throw; GoogleTest's may not.
  ~TokensTest() noexcept override {}

 protected:
  HandClock clock;
  Tokens tokens{clock};

  static StreamRequest attachTo(kj::StringPtr id) {
    StreamRequest request;
    request.init<AttachRequest>(AttachRequest{kj::str(id), false, {}});
    return request;
  }
};

TEST_F(TokensTest, AreGoodOnce) {
  auto token = tokens.add(attachTo("a"));
  auto other = tokens.add(attachTo("b"));
  EXPECT_EQ(KJ_ASSERT_NONNULL(tokens.redeem(Kind::ATTACH, token)).get<AttachRequest>().containerId,
            "a");
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, token) == nullptr);
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, "") == nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(tokens.redeem(Kind::ATTACH, other)).get<AttachRequest>().containerId,
            "b");
}

TEST_F(TokensTest, AreGoodForAMinute) {
  auto token = tokens.add(attachTo("a"));
  clock.time += 59 * kj::SECONDS;
  auto later = tokens.add(attachTo("b"));
  clock.time += 1 * kj::SECONDS;
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, token) == nullptr);
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, later) != nullptr);
}

TEST_F(TokensTest, AreGoodForTheirKind) {
  auto token = tokens.add(attachTo("a"));
  EXPECT_TRUE(tokens.redeem(Kind::EXEC, token) == nullptr);
  EXPECT_TRUE(tokens.redeem(Kind::PORT_FORWARD, token) == nullptr);
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, token) != nullptr);
}

TEST_F(TokensTest, AreLimitedUntilSomeAreUsedOrOld) {
  kj::Vector<kj::String> all;
  for (size_t i = 0; i < Tokens::MAX_WAITING; i++)
    all.add(tokens.add(attachTo("a")));
  auto isFull = [&]() {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { tokens.add(attachTo("b")); })) {
      EXPECT_EQ(snapshot::codeOf(*exception), snapshot::Code::RESOURCE_EXHAUSTED);
      return true;
    }
    return false;
  };
  EXPECT_TRUE(isFull());
  EXPECT_TRUE(tokens.redeem(Kind::ATTACH, all[500]) != nullptr);
  EXPECT_FALSE(isFull());
  EXPECT_TRUE(isFull());
  clock.time += Tokens::LIFETIME;
  EXPECT_FALSE(isFull());
}

TEST_F(TokensTest, GoFromOneDaemonToTheNext) {
  auto used = tokens.add(attachTo("used"));
  tokens.redeem(Kind::ATTACH, used);
  StreamRequest request;
  request.init<ExecRequest>(ExecRequest{
      kj::str("a"), kj::arr(kj::str("ls"), kj::str("\xff")), true, {.in = true, .err = true}});
  auto exec = tokens.add(kj::mv(request));
  clock.time += 30 * kj::SECONDS;
  StreamRequest ports;
  ports.init<PortForwardRequest>(PortForwardRequest{kj::str("p"), kj::arr<uint16_t>(80, 65535)});
  auto forward = tokens.add(kj::mv(ports));
  auto attach = tokens.add(attachTo("b"));

  capnp::MallocMessageBuilder message;
  auto handover = message.initRoot<StreamHandover>();
  tokens.describe(handover);
  EXPECT_EQ(3u, handover.getTokens().size());
  Tokens next(clock);
  next.takeOver(handover.asReader());

  auto redeemed = KJ_ASSERT_NONNULL(next.redeem(Kind::EXEC, exec));
  auto& same = redeemed.get<ExecRequest>();
  EXPECT_EQ("a", same.containerId);
  ASSERT_EQ(2u, same.command.size());
  EXPECT_EQ("\xff", same.command[1]);
  EXPECT_TRUE(same.tty && same.streams.in && same.streams.err && !same.streams.out);
  auto sameForward = KJ_ASSERT_NONNULL(next.redeem(Kind::PORT_FORWARD, forward));
  EXPECT_EQ(65535, sameForward.get<PortForwardRequest>().ports[1]);
  EXPECT_TRUE(next.redeem(Kind::ATTACH, used) == nullptr);
  // Their minute goes on.
  clock.time += 60 * kj::SECONDS;
  EXPECT_TRUE(next.redeem(Kind::ATTACH, attach) == nullptr);
}

TEST_F(TokensTest, AreLongAndOfUrlCharacters) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; i++) {
    auto token = tokens.add(attachTo("a"));
    EXPECT_EQ(token.size(), 43u);  // 256 bits of 6 each
    for (char c : token)
      EXPECT_TRUE(isalnum(c) || c == '-' || c == '_') << token.cStr();
    EXPECT_TRUE(seen.insert(token.cStr()).second);
  }
}

}  // namespace
}  // namespace belay::criapi::streaming
