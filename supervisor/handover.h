// How one belayd becomes the next: the same process runs another program, which is tried first and
// gets what the old one holds (handover.capnp).
#pragma once

#include <capnp/message.h>
#include <kj/async.h>
#include <kj/io.h>
#include <kj/timer.h>

#include "snapshot/sys/child.h"
#include "supervisor/config/config.h"
#include "supervisor/handover.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// What this process was started as.
struct Invocation {
  kj::String program;               // absolute: where its file was
  kj::Array<kj::String> arguments;  // without the program's name

  static Invocation ofThisProcess(int argc, const char* const* argv);
};

// --- the old one

// Runs `program` with the invocation's arguments and the word "check-handover". Throws
// FAILED_PRECONDITION, with what the program said, unless it says that it can take this over.
// Dropping the promise kills it.
kj::Promise<void> tryNext(snapshot::Children& children, kj::Timer& timer, kj::StringPtr program,
                          kj::ArrayPtr<const kj::String> arguments, Handover::Reader handover);

// Becomes the program. All descriptors that the handover names stay open, all others are closed.
// Should the program not run, this process becomes its own program anew, with the same handover.
[[noreturn]] void becomeNext(kj::StringPtr program, kj::ArrayPtr<const kj::String> arguments,
                             Handover::Reader handover);

// --- the new one

// What the program before left to this one, if there was one. Once, at start.
kj::Maybe<Owned<Handover>> takeHandover();

// One of its descriptors; null for -1.
kj::AutoCloseFd takeDescriptor(int number);

// Throws FAILED_PRECONDITION, with what to do, when a belayd of this configuration cannot take
// over.
void requireAcceptable(Handover::Reader handover, const Config& config);

// What "check-handover" says on standard output when it can.
kj::String acceptance(kj::StringPtr version);

}  // namespace belay::supervisor
