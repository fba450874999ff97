// Names of images, as pulled and as imported.
#include "snapshot/image-check.h"

#include <gtest/gtest.h>

#include "snapshot/failure.h"
#include "snapshot/testing/test-image.h"

namespace belay::snapshot {
namespace {

struct ImageNamesTest : public ::testing::Test {
  TestImage source{kj::arr("base"_kj)};
  capnp::MallocMessageBuilder reportedMessage;
  capnp::MallocMessageBuilder message;
  Image::Builder reported = reportedMessage.initRoot<Image>();
  Image::Builder image = message.initRoot<Image>();

  ImageNamesTest() {
    source.fill(reported);
    source.fill(image);
  }
  ~ImageNamesTest() noexcept override {}
};

TEST_F(ImageNamesTest, APulledImageHasTheNameItWasAskedBy) {
  setPulledNames(image, Reference::parse("r.example/app:v1"), reported);
  ASSERT_EQ(image.getRepoTags().size(), 1);
  EXPECT_EQ(image.asReader().getRepoTags()[0], "r.example/app:v1");
  EXPECT_EQ(image.asReader().getRepoDigests()[0],
            kj::str("r.example/app@", source.manifest.digest));
}

TEST_F(ImageNamesTest, ByDigestItHasNoTag) {
  setPulledNames(image, Reference::parse(kj::str("r.example/app@", source.manifest.digest)),
                 reported);
  EXPECT_EQ(image.getRepoTags().size(), 0);
  EXPECT_EQ(image.getRepoDigests().size(), 1);
}

TEST_F(ImageNamesTest, AnotherDigestThanAskedForIsRefused) {
  auto other = Digest::of("other"_kj.asBytes());
  try {
    setPulledNames(image, Reference::parse(kj::str("r.example/app@", other)), reported);
    FAIL() << "accepted";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(codeOf(exception), Code::FAILED_PRECONDITION);
  }
}

TEST_F(ImageNamesTest, AnArchivesNamesAreCompletedOrDropped) {
  auto names = reported.initRepoTags(3);
  names.set(0, "busybox");
  names.set(1, "../../etc/passwd");
  names.set(2, "r.example/app:v2");
  setImportedNames(image, "", reported);
  ASSERT_EQ(image.getRepoTags().size(), 2);
  EXPECT_EQ(image.asReader().getRepoTags()[0], "docker.io/library/busybox:latest");
  EXPECT_EQ(image.asReader().getRepoTags()[1], "r.example/app:v2");
  EXPECT_EQ(image.getRepoDigests().size(), 2);
}

TEST_F(ImageNamesTest, ANamelessArchiveGetsTheWantedName) {
  setImportedNames(image, "local/app:1", reported);
  ASSERT_EQ(image.getRepoTags().size(), 1);
  EXPECT_EQ(image.asReader().getRepoTags()[0], "docker.io/local/app:1");
  setImportedNames(image, "", reported);
  EXPECT_EQ(image.getRepoTags().size(), 0);
}

}  // namespace
}  // namespace belay::snapshot
