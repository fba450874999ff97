// Digests are well formed or do not exist; chain ids follow the OCI formula.
#include "snapshot/digest.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include "snapshot/failure.h"

namespace belay::snapshot {
namespace {

// SHA-256 of nothing, and of "abc" (FIPS 180-2).
constexpr kj::StringPtr EMPTY =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"_kj;
constexpr kj::StringPtr ABC =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"_kj;

TEST(Digest, ParsesOnlyTheOneForm) {
  EXPECT_TRUE(Digest::tryParse(ABC) != nullptr);
  EXPECT_TRUE(Digest::tryParse(ABC.slice(7)) == nullptr);
  EXPECT_TRUE(Digest::tryParse(kj::str(ABC, "0")) == nullptr);
  EXPECT_TRUE(Digest::tryParse(kj::heapString(ABC.slice(0, ABC.size() - 1))) == nullptr);
  EXPECT_TRUE(Digest::tryParse("sha512:00") == nullptr);
  EXPECT_TRUE(Digest::tryParse("") == nullptr);
  auto wrong = kj::str(ABC);
  wrong[70] = '/';
  EXPECT_TRUE(Digest::tryParse(wrong) == nullptr);
  wrong[70] = 'A';
  EXPECT_TRUE(Digest::tryParse(wrong) == nullptr);
}

TEST(Digest, NamesWhatIsWrong) {
  try {
    Digest::parse("sha256:nonsense", "layer 3");
    FAIL() << "it parsed";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(codeOf(exception), Code::INVALID_ARGUMENT);
    EXPECT_TRUE(messageOf(exception).startsWith("layer 3: \"sha256:nonsense\" is no digest"));
  }
}

TEST(Digest, HashesKnownVectors) {
  EXPECT_EQ(Digest::of(nullptr).text(), EMPTY);
  EXPECT_EQ(Digest::of("abc"_kj.asBytes()).text(), ABC);
  EXPECT_EQ(Digest::of("abc"_kj.asBytes()).hex(), ABC.slice(7));
}

TEST(Digest, ChainIdsFollowTheImageSpecification) {
  Digest first = Digest::parse(EMPTY, "first");
  Digest second = Digest::parse(ABC, "second");
  auto chain = chainIds(kj::arr(first, second, second));
  ASSERT_EQ(chain.size(), 3);
  EXPECT_TRUE(chain[0] == first);
  EXPECT_TRUE(chain[1] == Digest::of(kj::str(EMPTY, " ", ABC).asBytes()));
  EXPECT_TRUE(chain[2] == Digest::of(kj::str(chain[1], " ", ABC).asBytes()));
}

}  // namespace
}  // namespace belay::snapshot
