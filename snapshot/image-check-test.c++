// Names of images, as pulled and as imported; and what a store can lack of one.
#include "snapshot/image-check.h"

#include <gtest/gtest.h>

#include "snapshot/failure.h"
#include "snapshot/testing/store-fixture.h"
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

// A recorded image in the store, of which a disk may lose something.
struct ImageFaultTest : public StoreFixture {
  TestImage source{kj::arr("base"_kj, "top"_kj)};
  capnp::MallocMessageBuilder message;
  Image::Builder image = message.initRoot<Image>();

  ~ImageFaultTest() noexcept override {}

  void SetUp() override {
    openStore();
    source.fill(image);
    for (auto blob : source.blobs())
      putBlob(blob->bytes);
    for (kj::uint i = 0; i < source.layers.size(); ++i) {
      image.getLayers()[i].setSizeBytes(source.layers[i].bytes.size());
      auto staging = store->newStaging();
      store->commitLayer(*staging, source.chainIds()[i], Usage{});
    }
  }

  kj::String pathOf(const TestBlob& blob) {
    return kj::str(storePath(), "/blobs/sha256/", blob.digest.hex());
  }
  void expectFaultNaming(const Digest& digest) {
    KJ_IF_MAYBE (fault, faultOf(image, *store)) {
      EXPECT_TRUE(has(*fault, digest.text())) << fault->cStr();
    } else {
      ADD_FAILURE() << "it lacks nothing?";
    }
  }
};

TEST_F(ImageFaultTest, NothingIsMissing) {
  EXPECT_TRUE(faultOf(image, *store) == nullptr);
}

TEST_F(ImageFaultTest, AMissingLayer) {
  auto chainId = source.chainIds()[1];
  ASSERT_EQ(rename(kj::str(storePath(), "/layers/", chainId.hex()).cStr(),
                   kj::str(storePath(), "/gone").cStr()),
            0);
  expectFaultNaming(chainId);
}

TEST_F(ImageFaultTest, AMissingBlob) {
  ASSERT_EQ(unlink(pathOf(source.manifest).cStr()), 0);
  expectFaultNaming(source.manifest.digest);
}

TEST_F(ImageFaultTest, AShortLayerBlob) {
  ASSERT_EQ(truncate(pathOf(source.layers[0]).cStr(), 7), 0);
  expectFaultNaming(source.layers[0].digest);
}

TEST_F(ImageFaultTest, AConfigurationOfTheRightLengthWithoutItsBytes) {
  ASSERT_EQ(truncate(pathOf(source.config).cStr(), 0), 0);
  ASSERT_EQ(truncate(pathOf(source.config).cStr(), source.config.bytes.size()), 0);
  expectFaultNaming(source.config.digest);
}

}  // namespace
}  // namespace belay::snapshot
