// How the calls that give out a session's socket answer.
#pragma once

#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/failure.h"
#include "shim/file-server.h"

namespace belay::shim {

// Fills the results of exec, attach or portForward with what `make` gives: the session's socket, a
// failure, or an exception's words.
template <typename Make, typename Results>
void answerWithSession(Make&& make, kj::StringPtr step, kj::StringPtr object, Results& results) {
  kj::OneOf<kj::AutoCloseFd, FailureValue> answer;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { answer = make(); })) {
    answer.init<FailureValue>(failureOf(step, object, *exception));
  }
  KJ_SWITCH_ONEOF(answer) {
    KJ_CASE_ONEOF(socket, kj::AutoCloseFd) {
      results.initOutcome().setDone();
      results.setSession(kj::heap<FileServer>(kj::mv(socket)));
    }
    KJ_CASE_ONEOF(failure, FailureValue) {
      writeFailure(failure, results.initOutcome().initFailed());
    }
  }
}

}  // namespace belay::shim
