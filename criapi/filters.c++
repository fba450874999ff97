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

}  // namespace

bool matches(const runtime::v1::PodSandboxFilter& filter, const supervisor::PodView& pod) {
  auto record = pod.record.get();
  return idMatches(filter.id(), record.getId()) &&
         (!filter.has_state() || filter.state().state() == stateOf(pod)) &&
         hasLabels(record.getConfig().getLabels(), filter.label_selector());
}

bool matches(const runtime::v1::ContainerFilter& filter,
             const supervisor::ContainerView& container) {
  auto record = container.record.get();
  return idMatches(filter.id(), record.getId()) &&
         idMatches(filter.pod_sandbox_id(), record.getPodId()) &&
         (!filter.has_state() || filter.state().state() == stateOf(container)) &&
         hasLabels(record.getConfig().getLabels(), filter.label_selector());
}

}  // namespace belay::criapi
