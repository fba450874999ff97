// The supervisors that want to know what happens in the pod.
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>
#include <kj/vector.h>

#include "shim/pod-container.h"
#include "shim/shim.capnp.h"

namespace belay::shim {

// Tells every watcher, in order. One that fails, or does not answer MAX_PENDING calls, is
// forgotten: its connection is broken, and it will come again and read the state.
class Watchers final : private kj::TaskSet::ErrorHandler {
 public:
  Watchers() : tasks(*this) {}
  KJ_DISALLOW_COPY_AND_MOVE(Watchers);

  void add(Watcher::Client watcher, kj::ArrayPtr<const kj::Own<PodContainer>> containers);

  // A container came or changed.
  void tellChanged(const PodContainer& container);
  void tellDescriptors(const PodContainer& container);
  // A descriptor that was told of is to be closed.
  void tellReleased(kj::StringPtr name);

  static constexpr uint MAX_PENDING = 1024;

 private:
  struct Entry : public kj::Refcounted {
    explicit Entry(Watcher::Client client) : client(kj::mv(client)) {}
    Watcher::Client client;
    uint pending = 0;
    bool broken = false;
  };

  void tellChanged(Entry& entry, const PodContainer& container);
  void tellDescriptors(Entry& entry, const PodContainer& container);
  void track(Entry& entry, kj::Promise<void> call);
  void forgetBroken();
  void taskFailed(kj::Exception&& exception) override;

  kj::Vector<kj::Own<Entry>> entries;
  kj::TaskSet tasks;
};

// Fills a list of descriptors, "<container id>/stdout" and so on, with duplicates as capabilities.
void fillDescriptors(kj::ArrayPtr<const PodContainer::Descriptor> descriptors,
                     capnp::List<Shim::Descriptor>::Builder list);

}  // namespace belay::shim
