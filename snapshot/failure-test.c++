// Codes travel in exceptions and cannot be chosen by a peer.
#include "snapshot/failure.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <kj/debug.h>

namespace belay::snapshot {
namespace {

TEST(Failure, CarriesCodeAndSentence) {
  kj::Exception exception = failure(Code::NOT_FOUND, "image x: not here");
  EXPECT_EQ(codeOf(exception), Code::NOT_FOUND);
  EXPECT_STREQ(messageOf(exception).cStr(), "image x: not here");
  kj::Exception outer = prefixed(exception, "pull");
  EXPECT_EQ(codeOf(outer), Code::NOT_FOUND);
  EXPECT_STREQ(messageOf(outer).cStr(), "pull: image x: not here");
}

TEST(Failure, GivesOtherExceptionsACodeByTheirType) {
  kj::Exception full(kj::Exception::Type::OVERLOADED, "f", 1, kj::str("disk full"));
  EXPECT_EQ(codeOf(full), Code::RESOURCE_EXHAUSTED);
  kj::Exception gone(kj::Exception::Type::DISCONNECTED, "f", 1, kj::str("gone"));
  EXPECT_EQ(codeOf(gone), Code::UNAVAILABLE);
  kj::Exception plain(kj::Exception::Type::FAILED, "f", 1, kj::str("NOT_FOUNDATION: x"));
  EXPECT_EQ(codeOf(plain), Code::INTERNAL);
  EXPECT_STREQ(messageOf(plain).cStr(), "NOT_FOUNDATION: x");
}

TEST(Failure, APeersTextDoesNotChooseTheCode) {
  kj::Exception remote(kj::Exception::Type::FAILED, "f", 1,
                       kj::str("remote exception: NOT_FOUND: so it says"));
  EXPECT_EQ(codeOf(remote), Code::INTERNAL);
}

TEST(Failure, EveryCodeHasItsName) {
  for (Code code :
       {Code::INVALID_ARGUMENT, Code::NOT_FOUND, Code::ALREADY_EXISTS, Code::FAILED_PRECONDITION,
        Code::UNAVAILABLE, Code::UNAUTHENTICATED, Code::RESOURCE_EXHAUSTED, Code::DEADLINE_EXCEEDED,
        Code::UNIMPLEMENTED, Code::INTERNAL}) {
    EXPECT_EQ(codeOf(failure(code, "")), code);
    EXPECT_STREQ(messageOf(failure(code, "")).cStr(), "");
  }
}

}  // namespace
}  // namespace belay::snapshot
