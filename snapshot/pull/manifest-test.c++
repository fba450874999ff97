// Tests manifests, indexes, platforms and image configurations, whole and malformed.
#include "snapshot/pull/manifest.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <string>

#include "snapshot/pull/image-builder.h"
#include "snapshot/pull/json.h"
#include "snapshot/pull/platform.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {
namespace {

constexpr ManifestLimits LIMITS{1 << 20, 1 << 30, 3};
const std::string HEX(64, 'a');
const std::string OTHER_HEX(64, 'b');

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(text.data(), text.size()).asBytes();
}

std::string layer(const std::string& hex = HEX, const std::string& size = "10",
                  const std::string& type = "application/vnd.oci.image.layer.v1.tar+gzip") {
  return R"({"mediaType":")" + type + R"(","digest":"sha256:)" + hex + R"(","size":)" + size + "}";
}

std::string manifest(const std::string& layers,
                     const std::string& configType = "application/vnd.oci.image.config.v1+json") {
  return R"({"schemaVersion":2,"config":{"mediaType":")" + configType + R"(","digest":"sha256:)" +
         HEX + R"(","size":7},"layers":[)" + layers + "]}";
}

template <typename Work>
std::string failureOf(Work work) {
  try {
    work();
  } catch (const kj::Exception& e) {
    return pullErrorSentence(e).cStr();
  }
  return "";
}

TEST(Json, IsBoundedAndTyped) {
  auto parse = [](const std::string& text) { return parseJsonObject(bytesOf(text), "it"); };
  EXPECT_EQ(textMember(parse(R"({"a":"b"})"), "a"), "b");
  EXPECT_EQ(textMember(parse(R"({"a":null})"), "a"), "");
  EXPECT_NE(
      failureOf([&] { parse(R"({"a":)" + std::string(40, '[') + std::string(40, ']') + "}"); }),
      "");
  EXPECT_NE(failureOf([&] { parse(std::string(1 << 20, '[')); }), "");
  EXPECT_NE(failureOf([&] { parse("[1]"); }), "");
  EXPECT_NE(failureOf([&] { parse("{"); }), "");
  EXPECT_NE(failureOf([&] { parse("{\"a\":\"\xff\"}"); }), "");
  EXPECT_NE(failureOf([&] { textMember(parse(R"({"a":1})"), "a"); }), "");
  EXPECT_NE(failureOf([&] { textMember(parse(R"({"a":"x\u0000y"})"), "a"); }), "");
  EXPECT_NE(failureOf([&] { countMember(parse(R"({"a":-1})"), "a"); }), "");
  EXPECT_NE(failureOf([&] { countMember(parse(R"({"a":1.5})"), "a"); }), "");
  EXPECT_NE(failureOf([&] { textListMember(parse(R"({"a":["x",1]})"), "a"); }), "");
  EXPECT_NE(failureOf([&] { objectMember(parse(R"({"a":[]})"), "a"); }), "");
}

TEST(Manifest, ListsConfigurationAndLayers) {
  auto parsed = parseManifest(bytesOf(manifest(layer() + "," + layer(OTHER_HEX, "20"))), LIMITS);
  EXPECT_EQ(parsed.config.sizeBytes, 7u);
  ASSERT_EQ(parsed.layers.size(), 2u);
  EXPECT_EQ(parsed.layers[1].digest.hex(), OTHER_HEX.c_str());
  EXPECT_EQ(parsed.layers[1].sizeBytes, 20u);
}

TEST(Manifest, RefusesWhatNoImageMayHave) {
  auto refuse = [](const std::string& text) {
    return failureOf([&] { parseManifest(bytesOf(text), LIMITS); });
  };
  std::string four = layer() + "," + layer() + "," + layer() + "," + layer();
  EXPECT_NE(refuse(manifest(four)).find("4 layers"), std::string::npos);
  EXPECT_NE(refuse(manifest(layer("xyz"))).find("no SHA-256"), std::string::npos);
  EXPECT_NE(refuse(manifest(layer(HEX, "99999999999"))).find("the limit is"), std::string::npos);
  EXPECT_NE(refuse(manifest(layer(HEX, "-1"))), "");
  EXPECT_NE(refuse(manifest(layer(HEX, "1", "application/x-lua"))).find("cannot be unpacked"),
            std::string::npos);
  EXPECT_NE(refuse(manifest("7")), "");
  EXPECT_NE(
      refuse(manifest("", "application/vnd.cncf.helm.config.v1+json")).find("no container image"),
      std::string::npos);
  EXPECT_NE(refuse("{}"), "");
}

TEST(Manifest, IsToldFromAnIndex) {
  auto kind = [](const std::string& text, kj::StringPtr type) {
    return manifestKind(bytesOf(text), type);
  };
  EXPECT_EQ(kind(manifest(""), "application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            ManifestKind::IMAGE);
  EXPECT_EQ(kind(manifest(""), "application/json"), ManifestKind::IMAGE);
  EXPECT_EQ(kind(R"({"schemaVersion":2,"manifests":[]})", ""), ManifestKind::INDEX);
  EXPECT_EQ(kind(R"({"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json"})",
                 "text/plain"),
            ManifestKind::INDEX);
  auto fail = [&](const std::string& text, kj::StringPtr type) {
    return failureOf([&] { kind(text, type); });
  };
  EXPECT_NE(fail(R"({"schemaVersion":1,"fsLayers":[]})", "").find("schema 1"), std::string::npos);
  EXPECT_NE(fail(R"({"schemaVersion":2,"manifests":[],"layers":[]})",
                 "application/vnd.oci.image.index.v1+json")
                .find("at once"),
            std::string::npos);
  EXPECT_NE(fail("{}", "text/html"), "");
}

Descriptor entryFor(kj::StringPtr os, kj::StringPtr architecture, kj::StringPtr variant, char hex) {
  std::string digits(64, hex);
  return {KJ_ASSERT_NONNULL(Digest::tryFromHex(digits.c_str())),
          1,
          kj::String(),
          {kj::heapString(os), kj::heapString(architecture), kj::heapString(variant)},
          kj::String()};
}

char chosen(kj::ArrayPtr<const Descriptor> entries, kj::StringPtr architecture,
            kj::StringPtr variant) {
  Platform machine{kj::heapString("linux"), kj::heapString(architecture), kj::heapString(variant)};
  KJ_IF_MAYBE (entry, choosePlatform(entries, machine)) {
    return entry->digest.hex()[0];
  }
  return '-';
}

TEST(Platform, TakesTheBestThatRuns) {
  kj::Vector<Descriptor> entries;
  entries.add(entryFor("windows", "amd64", "", '0'));
  entries.add(entryFor("linux", "arm", "v6", '1'));
  entries.add(entryFor("linux", "arm", "v7", '2'));
  entries.add(entryFor("linux", "amd64", "v3", '3'));
  entries.add(entryFor("linux", "amd64", "", '4'));
  entries.add(entryFor("linux", "arm64", "v8", '5'));
  entries.add(entryFor("unknown", "unknown", "", '6'));
  EXPECT_EQ(chosen(entries, "amd64", ""), '4');
  EXPECT_EQ(chosen(entries, "amd64", "v3"), '3');
  EXPECT_EQ(chosen(entries, "amd64", "v2"), '4');
  EXPECT_EQ(chosen(entries, "arm", "v7"), '2');
  EXPECT_EQ(chosen(entries, "arm", "v6"), '1');
  EXPECT_EQ(chosen(entries, "arm", "v5"), '-');
  EXPECT_EQ(chosen(entries, "arm64", ""), '5');
  EXPECT_EQ(chosen(entries, "aarch64", "v8"), '5');
  EXPECT_EQ(chosen(entries, "riscv64", ""), '-');
  entries.add(entryFor("", "", "", '7'));
  EXPECT_EQ(chosen(entries, "riscv64", ""), '7');
}

ImageParts partsWith(const std::string& config, const std::string& layers) {
  auto parsed = parseManifest(bytesOf(manifest(layers)), LIMITS);
  Digest top = parsed.config.digest;
  ImageParts parts{{}, {}, {}, top, kj::mv(parsed), kj::heapArray(bytesOf(config))};
  parts.documents.add(top);
  return parts;
}

Platform amd64() {
  return {kj::str("linux"), kj::str("amd64"), kj::str("")};
}

TEST(ImageBuilder, ReadsTheConfiguration) {
  std::string config = R"({"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:)" +
                       HEX + R"(","sha256:)" + OTHER_HEX +
                       R"("]},"config":{"User":"1000:0","Env":["A=1","B"],
      "Entrypoint":["/e"],"Cmd":["c","d"],"WorkingDir":"/w","Volumes":{"/v1":{},"/v2":{}},
      "StopSignal":"SIGUSR1","Labels":{"k":"v"}}})";
  capnp::MallocMessageBuilder message;
  auto image = message.initRoot<Image>();
  buildImage(image, partsWith(config, layer() + "," + layer()), amd64());
  auto read = image.asReader();
  auto built = read.getConfig();
  EXPECT_EQ(built.getUser(), "1000:0");
  EXPECT_EQ(built.getEnv().size(), 2u);
  EXPECT_EQ(built.getEntrypoint()[0], "/e");
  EXPECT_EQ(built.getCmd()[1], "d");
  EXPECT_EQ(built.getWorkingDir(), "/w");
  EXPECT_EQ(built.getVolumes()[1], "/v2");
  EXPECT_EQ(built.getStopSignal(), "SIGUSR1");
  EXPECT_EQ(built.getLabels()[0].getValue(), "v");
  // The same layer twice: two layers with different chain ids, one blob, counted once.
  ASSERT_EQ(read.getLayers().size(), 2u);
  EXPECT_EQ(read.getLayers()[0].getChainId(), read.getLayers()[0].getDiffId());
  EXPECT_NE(read.getLayers()[1].getChainId(), read.getLayers()[1].getDiffId());
  EXPECT_EQ(read.getBlobs().size(), 1u);
}

TEST(ImageBuilder, RefusesWhatDoesNotFit) {
  capnp::MallocMessageBuilder message;
  auto image = message.initRoot<Image>();
  auto refuse = [&](const std::string& config) {
    return failureOf([&] { buildImage(image, partsWith(config, layer()), amd64()); });
  };
  EXPECT_NE(refuse(R"({"os":"linux","architecture":"arm64"})").find("linux/arm64"),
            std::string::npos);
  EXPECT_NE(
      refuse(R"({"os":"linux","architecture":"amd64"})").find("1 layers, its configuration 0"),
      std::string::npos);
  EXPECT_NE(refuse(R"({"rootfs":{"diff_ids":["sha256:short"]}})").find("no SHA-256"),
            std::string::npos);
  EXPECT_NE(refuse("{\"config\":7}"), "");
}

}  // namespace
}  // namespace belay::snapshot
