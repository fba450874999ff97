// See operation.h.
#include "supervisor/operation.h"

#include <kj/debug.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

using snapshot::Code;

namespace {

// "4.2 s"
kj::String seconds(kj::Duration duration) {
  auto tenths = duration / (100 * kj::MILLISECONDS);
  return kj::str(tenths / 10, '.', tenths % 10, " s");
}

}  // namespace

Operation::Operation(kj::Timer& timer, kj::String name)
    : timer(timer), name(kj::mv(name)), startedAt(timer.now()), stageStartedAt(startedAt) {}

void Operation::enter(kj::StringPtr phrase) {
  stage = phrase;
  stageStartedAt = timer.now();
}

Operation::Description Operation::describe() const {
  auto now = timer.now();
  return {kj::str(name), kj::str(undoing ? "undo after a failure to " : "", stage), now - startedAt,
          now - stageStartedAt};
}

void Operation::failLate(kj::Duration limit) {
  snapshot::fail(Code::DEADLINE_EXCEEDED, "not done after ", seconds(limit),
                 "; it has been at this step for ", seconds(timer.now() - stageStartedAt));
}

Operations::Operations(kj::Timer& timer) : timer(timer), tasks(*this) {}

Operations::~Operations() noexcept(false) {
  // Dropped work takes itself out of the table, which must not be going away just then.
  auto dropped = kj::mv(running);
}

kj::Promise<kj::String> Operations::run(kj::String name, Work work) {
  return run(kj::mv(name), nullptr, kj::mv(work));
}

kj::Promise<kj::String> Operations::run(kj::String name, kj::ArrayPtr<const kj::byte> request,
                                        Work work) {
  KJ_IF_MAYBE (entry, running.find(name)) {
    if (entry->request != request) {
      snapshot::fail(Code::ALREADY_EXISTS, name,
                     ": it runs for a request that has this name and asks for something else: wait "
                     "for its end, or count attempt up");
    }
    return resultOf(*entry);
  }
  if (held) return kj::NEVER_DONE;
  auto operation = kj::refcounted<Operation>(timer, kj::str(name));
  // Started from the event loop: work that ends at once must find its entry to take away.
  auto working =
      kj::evalLater([this, operation = kj::addRef(*operation), work = kj::mv(work)]() mutable {
        return carryOut(kj::mv(operation), kj::mv(work));
      });
  auto result = dropping.wrap(kj::mv(working)).fork();
  // Errors are the callers' to report.
  tasks.add(result.addBranch().then([](kj::Own<Result>) {}, [](kj::Exception&&) {}));
  auto& entry =
      running.insert(kj::mv(name), Entry{kj::mv(operation), kj::heapArray(request), kj::mv(result)})
          .value;
  return resultOf(entry);
}

kj::Promise<kj::Own<Operations::Result>> Operations::carryOut(kj::Own<Operation> operation,
                                                              Work work) {
  KJ_DEFER(running.erase(operation->name));
  auto result = kj::refcounted<Result>();
  try {
    result->text = co_await work(*operation);
  } catch (const kj::Exception& exception) {
    kj::throwFatalException(
        snapshot::prefixed(exception, kj::str(operation->name, ": ", operation->stage)));
  }
  co_return kj::mv(result);
}

kj::Promise<kj::String> Operations::resultOf(Entry& entry) {
  return entry.result.addBranch().then(
      [](kj::Own<Result> result) { return kj::str(result->text); });
}

void Operations::dropAll() {
  held = true;
  dropping.cancel(snapshot::failure(Code::UNAVAILABLE, "belayd is being replaced: ask again"));
}

kj::Array<Operation::Description> Operations::list() const {
  kj::Vector<Operation::Description> descriptions;
  for (auto& entry : running) {
    descriptions.add(entry.value.operation->describe());
  }
  return descriptions.releaseAsArray();
}

void Operations::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "an operation's bookkeeping failed", exception);
}

}  // namespace belay::supervisor
