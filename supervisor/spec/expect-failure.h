// For tests: that something fails as a client would see it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <kj/exception.h>

#include <string>

#include "snapshot/failure.h"

namespace belay::supervisor {

// Expects `action()` to throw a failure of this code whose sentence holds `part`.
template <typename Action>
void expectFailure(snapshot::Code code, const char* part, Action&& action) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { action(); })) {
    EXPECT_EQ(snapshot::nameOf(snapshot::codeOf(*exception)), snapshot::nameOf(code));
    EXPECT_THAT(std::string(snapshot::messageOf(*exception).cStr()), ::testing::HasSubstr(part));
  } else {
    ADD_FAILURE() << "nothing failed; expected: " << part;
  }
}

}  // namespace belay::supervisor
