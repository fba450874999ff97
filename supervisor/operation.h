// Named operations: every change to a pod, container or image runs as one. An operation belongs to
// the daemon, not to the caller: one who gives up does not stop it, and one who asks again joins it
// and gets its result. Nobody is ever told that a name is reserved.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/map.h>
#include <kj/refcount.h>
#include <kj/string.h>
#include <kj/timer.h>

namespace belay::supervisor {

// One that runs; handed to its work.
class Operation final : public kj::Refcounted {
 public:
  Operation(kj::Timer& timer, kj::String name);

  // "run-pod-sandbox default/web"
  kj::StringPtr getName() const { return name; }

  // Says what is being done from here on, as a verb phrase: "add the pod to its network". Stands in
  // the operation's errors and in listings. `phrase` outlives the operation (a literal).
  void enter(kj::StringPtr phrase);

  // Says that what was done is being undone, after a failure at the present stage. The stage of the
  // failure stays the one that errors name.
  void beginUndo() { undoing = true; }

  // Throws DEADLINE_EXCEEDED, naming the stage and how long it has lasted, when `work` takes longer
  // than that. The work is dropped then.
  template <typename T>
  kj::Promise<T> within(kj::Duration limit, kj::Promise<T> work);

  struct Description {
    kj::String name;
    kj::String stage;
    kj::Duration running;
    kj::Duration inStage;
  };
  Description describe() const;

 private:
  friend class Operations;

  kj::Timer& timer;
  kj::String name;
  kj::StringPtr stage = "begin";
  bool undoing = false;
  kj::TimePoint startedAt;
  kj::TimePoint stageStartedAt;

  [[noreturn]] void failLate(kj::Duration limit);
};

class Operations final : private kj::TaskSet::ErrorHandler {
 public:
  // `timer` outlives this object.
  explicit Operations(kj::Timer& timer);
  ~Operations() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Operations);

  // What an operation does. Its result is text: an id, or empty.
  using Work = kj::Function<kj::Promise<kj::String>(Operation& operation)>;

  // Runs `work`, or joins the operation of this name that runs already. Failures get the name and
  // the stage before their sentence. The work goes on when the promise is dropped; destroying this
  // object drops all work.
  kj::Promise<kj::String> run(kj::String name, Work work);
  // The same for work that a request describes: a request of the same name that asks for something
  // else does not get the running one's result, but ALREADY_EXISTS.
  kj::Promise<kj::String> run(kj::String name, kj::ArrayPtr<const kj::byte> request, Work work);

  // For a belayd that is about to be replaced. From here on nothing begins: whoever asks waits, for
  // its call to be carried out by the next one. What runs goes on, and can be joined.
  void hold() { held = true; }
  // Drops all work in the middle of what it does. Whoever waits for it is told UNAVAILABLE.
  void dropAll();

  // Those that run, for people who ask why something takes long.
  kj::Array<Operation::Description> list() const;

  // Resolves when no operation runs.
  kj::Promise<void> whenIdle() { return tasks.onEmpty(); }

 private:
  struct Result : public kj::Refcounted {
    kj::String text;
    kj::Own<Result> addRef() { return kj::addRef(*this); }
  };
  struct Entry {
    kj::Own<Operation> operation;
    kj::Array<kj::byte> request;
    kj::ForkedPromise<kj::Own<Result>> result;
  };

  kj::Timer& timer;
  kj::HashMap<kj::String, Entry> running;
  bool held = false;
  kj::Canceler dropping;
  kj::TaskSet tasks;

  kj::Promise<kj::Own<Result>> carryOut(kj::Own<Operation> operation, Work work);
  static kj::Promise<kj::String> resultOf(Entry& entry);
  void taskFailed(kj::Exception&& exception) override;
};

template <typename T>
kj::Promise<T> Operation::within(kj::Duration limit, kj::Promise<T> work) {
  auto late = timer.afterDelay(limit).then(
      [self = kj::addRef(*this), limit]() mutable -> kj::Promise<T> { self->failLate(limit); });
  return work.exclusiveJoin(kj::mv(late));
}

}  // namespace belay::supervisor
