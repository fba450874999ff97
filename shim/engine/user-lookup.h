// Which user, group and supplementary groups a process runs as: what the CRI asks for, looked up in
// the texts of the rootfs's /etc/passwd and /etc/group. Pure, and allocates nothing.
#pragma once

#include <sys/types.h>

#include <kj/common.h>

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

struct FoundUser {
  uid_t uid = 0;
  gid_t gid = 0;

  uint32_t groupCount = 0;
  // The primary group comes first: a file that excludes its own group ("negative permission") is
  // not opened by a process whose group was dropped from the list (CVE-2022-36109 and its kind).
  gid_t groups[Report::MAX_GROUPS];

  // A part of the passwd text; empty without an entry.
  kj::ArrayPtr<const char> home;
};

// Fills `found`. Answers null, or why there is no such user, as a reason for a person.
//
// A user is "NAME", "UID", "NAME:GROUP" or "UID:GID" as an image says it, or a number. A number
// without an entry is a user nevertheless, of group 0; a name is not. Groups of /etc/group that
// list the user come along unless the policy is strict.
const char* lookUpUser(User::Reader user, kj::ArrayPtr<const char> passwd,
                       kj::ArrayPtr<const char> group, FoundUser& found);

}  // namespace belay::shim
