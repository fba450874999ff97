// Failpoints: named places at which a test, or a person who wants to see what happens, has this
// process die, fail or dawdle. They are in every build and off unless armed; one that is off costs
// a load and a branch.
//
// A point is declared where it stands, in a function that is no template and not inline, and is
// passed on the event loop's thread. Its name says which program it is in, which operation it is
// part of and what has just been done: "belayd.run-pod-sandbox/after-intent".
#pragma once

#include <kj/async.h>
#include <kj/common.h>
#include <kj/string.h>
#include <kj/timer.h>
#include <stdint.h>

#include <atomic>

namespace belay::failpoint {

// One place. All of a program lie side by side in a section of their own, where they are found
// without being passed.
struct Point {
  enum class Action : uint8_t { NONE, KILL, FAIL, DELAY };

  const char* name;
  std::atomic<bool> armed = false;
  Action action = Action::NONE;
  uint32_t delayMs = 0;
  uint32_t skip = 0;    // passes until it first acts
  uint32_t times = 0;   // that it acts still
  uint32_t passes = 0;  // since it was armed

  bool isArmed() const { return armed.load(std::memory_order_relaxed); }

  // A pass of one that is armed. Throws for FAIL, does not return for KILL. The second form waits
  // without holding up the event loop.
  void strike();
  kj::Promise<void> strike(kj::Timer& timer);

 private:
  // What is to be done at this pass.
  Action takePass();
  void killOrFail(Action action);
};

// Where there is no event loop, or no coroutine: a delay holds up everything.
#define FAILPOINT(pointName)                                                               \
  do {                                                                                     \
    [[gnu::section("belay_failpoints")]] static constinit ::belay::failpoint::Point point{ \
        pointName};                                                                        \
    if (point.isArmed()) point.strike();                                                   \
  } while (false)

// In coroutines.
#define CO_FAILPOINT(timer, pointName)                                                     \
  do {                                                                                     \
    [[gnu::section("belay_failpoints")]] static constinit ::belay::failpoint::Point point{ \
        pointName};                                                                        \
    if (point.isArmed()) co_await point.strike(timer);                                     \
  } while (false)

// Arms this process's point of that name, or disarms it. The action is "off", "kill" (SIGKILL to
// itself), "fail" (throws an exception that names the point) or "delay:MILLISECONDS". It happens at
// the next pass; "fail*3" happens at the next three, "kill@5" at the fifth. Gives the sentence that
// says what is wrong with name or action, else nothing.
[[nodiscard]] kj::Maybe<kj::String> set(kj::StringPtr name, kj::StringPtr action);

// What is listed of a point.
struct Listed {
  kj::String name;
  kj::String action;  // in set()'s words, as things stand; "done" once it has acted as it was told
  uint32_t passes;    // since it was armed
};
// All points of this process by name, then what is kept for children.
kj::Array<Listed> list();

// Arms what the environment names: BELAY_FAILPOINTS="NAME=ACTION;NAME=ACTION". Names that begin
// with `own` ("belayd.") are this process's and must exist; the others are kept for those it
// starts. Throws for a name or an action that is none: a test must not pass because of a slip of
// the pen.
void readEnvironment(kj::StringPtr own);

// Names of programs that this one starts: kept, and handed on to those started from now on.
[[nodiscard]] kj::Maybe<kj::String> setForChildren(kj::StringPtr name, kj::StringPtr action);

// What to put into the environment of a child whose names begin with `prefix` ("pull."): the
// variable with its name. None, where nothing is set.
kj::Maybe<kj::String> environmentFor(kj::StringPtr prefix);

}  // namespace belay::failpoint
