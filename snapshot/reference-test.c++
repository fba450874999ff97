// Image references: what is completed, what is refused, and with which words.
#include "snapshot/reference.h"

#include <gtest/gtest.h>

#include "snapshot/failure.h"

namespace belay::snapshot {
namespace {

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

std::string normalised(kj::StringPtr text) {
  return Reference::parse(text).toString().cStr();
}

std::string refusal(kj::StringPtr text) {
  try {
    return "accepted as " + normalised(text);
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(codeOf(exception), Code::INVALID_ARGUMENT);
    return messageOf(exception).cStr();
  }
}

TEST(Reference, CompletesWhatIsLeftOut) {
  EXPECT_EQ(normalised("busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(normalised("busybox:1.36"), "docker.io/library/busybox:1.36");
  EXPECT_EQ(normalised("some/app"), "docker.io/some/app:latest");
  EXPECT_EQ(normalised("docker.io/busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(normalised("index.docker.io/busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(normalised("localhost/busybox"), "localhost/busybox:latest");
  EXPECT_EQ(normalised("LOCAL/busybox"), "LOCAL/busybox:latest");
  EXPECT_EQ(normalised("127.0.0.1:5000/a/b-c/d__e.f:v1"), "127.0.0.1:5000/a/b-c/d__e.f:v1");
  EXPECT_EQ(normalised("[::1]:5000/app"), "[::1]:5000/app:latest");
  EXPECT_EQ(normalised("[fe80::1]/app"), "[fe80::1]/app:latest");
}

TEST(Reference, KeepsDigests) {
  EXPECT_EQ(normalised("busybox@sha256:" HEX), "docker.io/library/busybox@sha256:" HEX);
  EXPECT_EQ(normalised("r.example:5000/app:v1@sha256:" HEX), "r.example:5000/app:v1@sha256:" HEX);
  auto reference = Reference::parse("r.example:5000/app:v1@sha256:" HEX);
  EXPECT_EQ(reference.registry, "r.example:5000");
  EXPECT_EQ(reference.repository, "app");
  KJ_IF_MAYBE (name, reference.taggedName()) {
    EXPECT_EQ(*name, "r.example:5000/app:v1");
  } else {
    FAIL() << "no tagged name";
  }
  EXPECT_TRUE(Reference::parse("busybox@sha256:" HEX).taggedName() == nullptr);
}

TEST(Reference, RefusesWithAReason) {
  EXPECT_EQ(refusal(""), "image reference: it is empty");
  EXPECT_NE(refusal("Busybox").find("repository must be lower-case"), std::string::npos);
  EXPECT_NE(refusal("a//b").find("repository"), std::string::npos);
  EXPECT_NE(refusal("a/../b").find("repository"), std::string::npos);
  EXPECT_NE(refusal("a___b").find("repository"), std::string::npos);
  EXPECT_NE(refusal("-a").find("repository"), std::string::npos);
  EXPECT_NE(refusal("a-").find("repository"), std::string::npos);
  EXPECT_NE(refusal("registry.example/").find("repository"), std::string::npos);
  EXPECT_NE(refusal("busybox:").find("tag must be"), std::string::npos);
  EXPECT_NE(refusal("busybox:-x").find("tag must be"), std::string::npos);
  EXPECT_NE(refusal("busybox:a:b").find("tag must be"), std::string::npos);
  EXPECT_NE(refusal("busybox:a b").find("tag must be"), std::string::npos);
  EXPECT_NE(refusal(kj::str("busybox:", kj::repeat('a', 129))).find("tag"), std::string::npos);
  EXPECT_NE(refusal("busybox@sha256:123").find("a digest is wanted"), std::string::npos);
  EXPECT_NE(refusal("busybox@" HEX).find("a digest is wanted"), std::string::npos);
  EXPECT_NE(refusal("host.example:port/app").find("registry"), std::string::npos);
  EXPECT_NE(refusal("host.example:70000/app").find("registry"), std::string::npos);
  EXPECT_NE(refusal("-host.example/app").find("registry"), std::string::npos);
  EXPECT_NE(refusal(HEX).find("image id"), std::string::npos);
  EXPECT_NE(refusal(kj::str("a/", kj::repeat('b', 255))).find("255"), std::string::npos);
  EXPECT_NE(refusal("a\nb\x1b[0m").find("\"a?b?[0m\""), std::string::npos);
}

TEST(Reference, TriesWithoutThrowing) {
  EXPECT_TRUE(Reference::tryParse("busybox") != nullptr);
  EXPECT_TRUE(Reference::tryParse("Not A Name") == nullptr);
}

TEST(Reference, KeepsTheDigestOfContentApart) {
  auto digest = Digest::parse("sha256:" HEX, "d");
  EXPECT_EQ(Reference::parse("busybox:1").nameWith(digest),
            "docker.io/library/busybox@sha256:" HEX);
}

}  // namespace
}  // namespace belay::snapshot
