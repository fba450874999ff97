// The user namespace that a pod may have for itself.
#include "supervisor/spec/user-namespace.h"

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

using shim::NamespaceMode;
using Mappings = capnp::List<IdMapping>::Reader;

constexpr kj::StringPtr NAMESPACES = "linux.security_context.namespace_options"_kj;
constexpr kj::StringPtr FIELD = "linux.security_context.namespace_options.userns_options"_kj;

// 2^32 - 1 means "no id" to the kernel.
constexpr uint64_t MAX_ID = 0xfffffffe;

void checkMappings(kj::StringPtr name, Mappings mappings) {
  auto field = kj::str(FIELD, ".", name);
  if (mappings.size() != 1) {
    refuse(field, "must hold exactly one mapping, not ", mappings.size());
  }
  auto mapping = mappings[0];
  if (mapping.getContainerId() != 0) {
    refuse(field, "must map the container's id 0, and begins with ", mapping.getContainerId());
  }
  if (mapping.getLength() == 0) refuse(field, "has the length 0, so that it maps nothing");
  if (uint64_t(mapping.getHostId()) + mapping.getLength() - 1 > MAX_ID) {
    refuse(field, mapping.getLength(), " ids from ", mapping.getHostId(),
           " on reach beyond the last one, ", MAX_ID);
  }
}

bool areEqual(Mappings a, Mappings b) {
  if (a.size() != b.size()) return false;
  for (kj::uint i = 0; i < a.size(); ++i) {
    if (a[i].getHostId() != b[i].getHostId() || a[i].getContainerId() != b[i].getContainerId() ||
        a[i].getLength() != b[i].getLength()) {
      return false;
    }
  }
  return true;
}

bool isLikePod(Mappings mappings, shim::IdMap::Reader pod) {
  return mappings.size() == 1 && mappings[0].getContainerId() == 0 &&
         mappings[0].getHostId() == pod.getFirstHostId() &&
         mappings[0].getLength() == pod.getCount();
}

}  // namespace

void checkUserNamespace(NamespaceOptions::Reader options) {
  auto uids = options.getUidMappings();
  auto gids = options.getGidMappings();
  if (options.getUsernsMode() == NamespaceMode::NODE) {
    if (uids.size() > 0 || gids.size() > 0) {
      refuse(FIELD, "mappings are given for the host's user namespace");
    }
    return;
  }
  if (options.getUsernsMode() != NamespaceMode::POD) {
    refuse(kj::str(FIELD, ".mode"), "must be POD or NODE");
  }
  checkMappings("uids", uids);
  checkMappings("gids", gids);
  if (!areEqual(uids, gids)) refuse(FIELD, "uids and gids must have the same mapping");
  if (options.getPid() == NamespaceMode::NODE) {
    refuse(kj::str(NAMESPACES, ".pid"), "must not be NODE with a user namespace of the pod");
  }
  if (options.getIpc() == NamespaceMode::NODE) {
    refuse(kj::str(NAMESPACES, ".ipc"), "must not be NODE with a user namespace of the pod");
  }
}

void checkSameUserNamespace(NamespaceOptions::Reader pod, NamespaceOptions::Reader container) {
  if (pod.getUsernsMode() == container.getUsernsMode() &&
      areEqual(pod.getUidMappings(), container.getUidMappings()) &&
      areEqual(pod.getGidMappings(), container.getGidMappings())) {
    return;
  }
  refuse(FIELD, "must be the same for a container as for its pod sandbox");
}

void requireUserNamespaces(NamespaceOptions::Reader options, kj::StringPtr fault) {
  if (options.getUsernsMode() != NamespaceMode::POD || fault.size() == 0) return;
  snapshot::fail(snapshot::Code::FAILED_PRECONDITION, FIELD,
                 ": this node cannot give a pod a user namespace of its own. ", fault);
}

void fillIds(shim::IdMap::Builder ids, NamespaceOptions::Reader options) {
  if (options.getUsernsMode() != NamespaceMode::POD) return;
  ids.setFirstHostId(options.getUidMappings()[0].getHostId());
  ids.setCount(options.getUidMappings()[0].getLength());
}

bool isMappedLikePod(Mount::Reader mount, kj::StringPtr field, shim::IdMap::Reader pod) {
  auto uids = mount.getUidMappings();
  auto gids = mount.getGidMappings();
  if (uids.size() == 0 && gids.size() == 0) return false;
  if (pod.getCount() == 0) {
    refuse(kj::str(field, ".uidMappings"), "the pod has no user namespace of its own");
  }
  if (!isLikePod(uids, pod)) refuse(kj::str(field, ".uidMappings"), "must be the pod's mapping");
  if (!isLikePod(gids, pod)) refuse(kj::str(field, ".gidMappings"), "must be the pod's mapping");
  return true;
}

}  // namespace belay::supervisor
