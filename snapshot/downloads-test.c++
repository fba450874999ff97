// One download of a blob at a time, however many want it.
#include "snapshot/downloads.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace belay::snapshot {
namespace {

struct DownloadsTest : public ::testing::Test {
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  Digest blob = Digest::of("blob"_kj.asBytes());

  ~DownloadsTest() noexcept override {}

  static kj::Own<Downloads::Claim> claim(Downloads& downloads, const Digest& digest) {
    KJ_IF_MAYBE (claim, downloads.tryClaim(digest)) {
      return kj::mv(*claim);
    }
    KJ_FAIL_ASSERT("it is claimed already");
  }
};

TEST_F(DownloadsTest, AClaimIsExclusiveForItsBlobAlone) {
  Downloads downloads;
  auto held = claim(downloads, blob);
  EXPECT_TRUE(downloads.tryClaim(blob) == nullptr);
  claim(downloads, Digest::of("other"_kj.asBytes()));
}

TEST_F(DownloadsTest, EveryoneWhoWaitsIsTold) {
  Downloads downloads;
  EXPECT_TRUE(downloads.whenFree(blob).poll(waitScope));
  auto held = claim(downloads, blob);
  auto first = downloads.whenFree(blob);
  auto second = downloads.whenFree(blob);
  EXPECT_FALSE(first.poll(waitScope) || second.poll(waitScope));
  held = nullptr;
  EXPECT_TRUE(first.poll(waitScope) && second.poll(waitScope));
  claim(downloads, blob);
}

TEST_F(DownloadsTest, AClaimCanOutliveItsOwnerUntilTheWriterIsGone) {
  Downloads downloads;
  auto writer = kj::newPromiseAndFulfiller<void>();
  downloads.releaseAfter(kj::mv(writer.promise), claim(downloads, blob));
  auto waiting = downloads.whenFree(blob);
  EXPECT_FALSE(waiting.poll(waitScope));
  // However it ended.
  writer.fulfiller->reject(KJ_EXCEPTION(FAILED, "killed"));
  EXPECT_TRUE(waiting.poll(waitScope));
}

}  // namespace
}  // namespace belay::snapshot
