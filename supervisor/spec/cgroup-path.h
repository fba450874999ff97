// Where a pod's cgroup is.
#pragma once

#include <kj/string.h>

#include "supervisor/config/config.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// The pod's cgroup, absolute below each hierarchy's root.
//
// With the cgroupfs driver: linux.cgroup_parent, or "/ROOT/pods/ID" without one (`root` is
// Config::cgroupRoot). With systemd's: a scope "ROOT-ID.scope" in the slice that cgroup_parent's
// last component names, or in "ROOT.slice". Throws INVALID_ARGUMENT naming the field.
kj::String podCgroupPath(PodConfig::Reader pod, CgroupDriver driver, kj::StringPtr root,
                         kj::StringPtr podId);

// Whether it is a scope that belay named by the pod's id, which systemd is to make.
bool isScopeOfPod(kj::StringPtr path, kj::StringPtr podId);

// Whether the cgroup at `path` can be no other pod's: belay named it by the pod's id. Others are
// their client's, and several attempts of a pod may be in one.
bool isCgroupOfPodAlone(kj::StringPtr path, kj::StringPtr podId);

// Where systemd has a slice: "a-b.slice" is at "/a.slice/a-b.slice" (systemd.slice(5)). Throws
// INVALID_ARGUMENT, naming linux.cgroup_parent, if it is no slice's name.
kj::String slicePath(kj::StringPtr slice);

}  // namespace belay::supervisor
