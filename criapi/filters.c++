// The filters of the list calls: which pods and containers a client wants to see.
#include "criapi/filters.h"

#include "criapi/text.h"
#include "criapi/translate-container.h"
#include "criapi/translate-pod.h"

namespace belay::criapi {
namespace {

bool idMatches(const std::string& prefix, kj::StringPtr id) {
  return id.startsWith(kj::StringPtr(prefix.c_str(), prefix.size()));
}

bool hasLabel(PairsReader labels, const std::string& key, const std::string& value) {
  for (auto label : labels) {
    if (label.getKey() == key.c_str() && label.getValue() == value.c_str()) return true;
  }
  return false;
}

bool hasLabels(PairsReader labels, const StringMap& selector) {
  for (auto& [key, value] : selector) {
    if (!hasLabel(labels, key, value)) return false;
  }
  return true;
}

// What all filters of pods have, and all of containers.
template <typename Filter>
bool matchesPod(const Filter& filter, const supervisor::PodView& pod) {
  auto record = pod.record.get();
  return idMatches(filter.id(), record.getId()) &&
         hasLabels(record.getConfig().getLabels(), filter.label_selector());
}

template <typename Filter>
bool matchesContainer(const Filter& filter, const supervisor::ContainerView& container) {
  auto record = container.record.get();
  return idMatches(filter.id(), record.getId()) &&
         idMatches(filter.pod_sandbox_id(), record.getPodId()) &&
         hasLabels(record.getConfig().getLabels(), filter.label_selector());
}

}  // namespace

bool matches(const runtime::v1::PodSandboxFilter& filter, const supervisor::PodView& pod) {
  return matchesPod(filter, pod) && (!filter.has_state() || filter.state().state() == stateOf(pod));
}

bool matches(const runtime::v1::ContainerFilter& filter,
             const supervisor::ContainerView& container) {
  return matchesContainer(filter, container) &&
         (!filter.has_state() || filter.state().state() == stateOf(container));
}

bool matches(const runtime::v1::PodSandboxStatsFilter& filter, const supervisor::PodView& pod) {
  return matchesPod(filter, pod);
}

bool matches(const runtime::v1::ContainerStatsFilter& filter,
             const supervisor::ContainerView& container) {
  return matchesContainer(filter, container);
}

}  // namespace belay::criapi
