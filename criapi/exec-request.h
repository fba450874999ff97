// What requests for processes and their streams have in common.
#pragma once

#include "criapi/text.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// The field "cmd". Refused if it is empty.
kj::Array<kj::String> commandOf(const StringList& command);

// The fields stdin, stdout, stderr and tty of an exec or attach. Refused if there is no stream, or
// stderr beside a terminal: that has one output.
template <typename Request>
supervisor::StreamSet streamsOf(const Request& request) {
  supervisor::StreamSet streams{request.stdin(), request.stdout(), request.stderr()};
  if (!streams.in && !streams.out && !streams.err) {
    Field("stdin").refuse("at least one of stdin, stdout and stderr must be true");
  }
  if (request.tty() && streams.err) {
    Field("stderr").refuse("must be false with a tty, whose only output is stdout");
  }
  return streams;
}

// The container as it is; FAILED_PRECONDITION unless it runs, UNAVAILABLE if nobody knows.
supervisor::ContainerView requireRunning(supervisor::Runtime& runtime, kj::StringPtr id);

}  // namespace belay::criapi
