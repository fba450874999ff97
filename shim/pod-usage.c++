// Implementation of pod-usage.h.
#include "shim/pod-usage.h"

#include <kj/debug.h>

namespace belay::shim {

PodUsageReader::PodUsageReader(const CgroupHierarchies& hierarchies, kj::StringPtr cgroupPath,
                               int netns, int64_t sinceNs)
    : cgroup(hierarchies, cgroupPath, sinceNs) {
  if (netns >= 0) network = NetworkUsageReader(netns);
}

void PodUsageReader::read(PodUsage::Builder usage) {
  cgroup.read(usage.initCgroup());
  kj::Vector<InterfaceCounters> interfaces;
  KJ_IF_MAYBE (reader, network) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { interfaces = reader->read(); })) {
      KJ_LOG(ERROR, "cannot read the counters of the pod's interfaces, and will not try again",
             *exception);
      network = nullptr;
    }
  }
  auto list = usage.initInterfaces(interfaces.size());
  for (size_t i = 0; i < interfaces.size(); ++i) {
    list[i].setName(interfaces[i].name);
    list[i].setRxBytes(interfaces[i].rxBytes);
    list[i].setRxErrors(interfaces[i].rxErrors);
    list[i].setTxBytes(interfaces[i].txBytes);
    list[i].setTxErrors(interfaces[i].txErrors);
  }
}

}  // namespace belay::shim
