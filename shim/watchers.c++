// Implementation of watchers.h.
#include "shim/watchers.h"

#include <kj/debug.h>

#include "shim/file-server.h"
#include "shim/stdio/descriptors.h"

namespace belay::shim {

void Watchers::add(Watcher::Client watcher, kj::ArrayPtr<const kj::Own<PodContainer>> containers) {
  forgetBroken();
  auto entry = kj::refcounted<Entry>(kj::mv(watcher));
  for (auto& container : containers) {
    if (container->hasExited()) {
      tellChanged(*entry, *container);
    } else {
      tellDescriptors(*entry, *container);
    }
  }
  entries.add(kj::mv(entry));
}

void Watchers::tellChanged(const PodContainer& container) {
  forgetBroken();
  for (auto& entry : entries)
    tellChanged(*entry, container);
}

void Watchers::tellDescriptors(const PodContainer& container) {
  forgetBroken();
  for (auto& entry : entries)
    tellDescriptors(*entry, container);
}

void Watchers::tellReleased(kj::StringPtr name) {
  forgetBroken();
  for (auto& entry : entries) {
    auto request = entry->client.descriptorsRequest();
    request.initDescriptors(1)[0].setName(name);
    track(*entry, request.send().ignoreResult());
  }
}

void Watchers::tellChanged(Entry& entry, const PodContainer& container) {
  auto request = entry.client.changedRequest();
  container.fillState(request.initState());
  track(entry, request.send().ignoreResult());
}

void Watchers::tellDescriptors(Entry& entry, const PodContainer& container) {
  auto descriptors = container.descriptors();
  auto request = entry.client.descriptorsRequest();
  auto list = request.initDescriptors(descriptors.size());
  fillDescriptors(descriptors, list);
  track(entry, request.send().ignoreResult());
}

void Watchers::track(Entry& entry, kj::Promise<void> call) {
  if (++entry.pending > MAX_PENDING) entry.broken = true;
  // The entry is marked, not removed: this may run inside a loop over all of them.
  tasks.add(
      call.then([entry = kj::addRef(entry)]() mutable { entry->pending--; },
                [entry = kj::addRef(entry)](kj::Exception&&) mutable { entry->broken = true; }));
}

void Watchers::forgetBroken() {
  kj::Vector<kj::Own<Entry>> kept;
  for (auto& entry : entries) {
    if (!entry->broken) kept.add(kj::mv(entry));
  }
  entries = kj::mv(kept);
}

void Watchers::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "telling a watcher failed", exception);
}

void fillDescriptors(kj::ArrayPtr<const PodContainer::Descriptor> descriptors,
                     capnp::List<Shim::Descriptor>::Builder list) {
  for (uint i : kj::indices(descriptors)) {
    list[i].setName(descriptors[i].name);
    list[i].setFile(kj::heap<FileServer>(duplicate(descriptors[i].fd)));
  }
}

}  // namespace belay::shim
