// Which user, group and supplementary groups a process runs as.
#include "shim/engine/user-lookup.h"

#include <kj/debug.h>

#include <cstring>

namespace belay::shim {
namespace {

using Text = kj::ArrayPtr<const char>;

// Takes the part before `separator` off the front of `rest`.
Text takeUntil(Text& rest, char separator) {
  auto* end = static_cast<const char*>(
      rest.size() == 0 ? nullptr : memchr(rest.begin(), separator, rest.size()));
  if (end == nullptr) {
    auto all = rest;
    rest = nullptr;
    return all;
  }
  Text part(rest.begin(), end);
  rest = Text(end + 1, rest.end());
  return part;
}

bool same(Text a, Text b) {
  return a.size() == b.size() && (a.size() == 0 || memcmp(a.begin(), b.begin(), a.size()) == 0);
}

// -1 is no id: the kernel takes it for "as it is".
constexpr uint64_t MAX_ID = 0xfffffffe;

kj::Maybe<uint32_t> parseId(Text text) {
  if (text.size() == 0 || text.size() > 10) return nullptr;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return nullptr;
    value = value * 10 + (c - '0');
  }
  if (value > MAX_ID) return nullptr;
  return uint32_t(value);
}

bool isId(Text text, uint32_t id) {
  KJ_IF_MAYBE (parsed, parseId(text)) {
    return *parsed == id;
  }
  return false;
}

// passwd(5): name:password:uid:gid:comment:home:shell
struct PasswdEntry {
  Text name, uid, gid, home;
};

// The first entry that `matches`.
template <typename Predicate>
kj::Maybe<PasswdEntry> findPasswdEntry(Text passwd, Predicate&& matches) {
  while (passwd.size() > 0) {
    auto line = takeUntil(passwd, '\n');
    PasswdEntry entry;
    entry.name = takeUntil(line, ':');
    takeUntil(line, ':');
    entry.uid = takeUntil(line, ':');
    entry.gid = takeUntil(line, ':');
    takeUntil(line, ':');
    entry.home = takeUntil(line, ':');
    // A broken line is no entry, as getpwnam(3) has it.
    if (entry.name.size() == 0 || parseId(entry.uid) == nullptr || parseId(entry.gid) == nullptr) {
      continue;
    }
    if (matches(entry)) return entry;
  }
  return nullptr;
}

// group(5): name:password:gid:member,member
struct GroupEntry {
  Text name;
  gid_t gid;
  Text members;
};

// Calls `each` with every entry until it answers false.
template <typename Function>
void eachGroup(Text group, Function&& each) {
  while (group.size() > 0) {
    auto line = takeUntil(group, '\n');
    GroupEntry entry;
    entry.name = takeUntil(line, ':');
    takeUntil(line, ':');
    auto gid = parseId(takeUntil(line, ':'));
    entry.members = takeUntil(line, ':');
    if (entry.name.size() == 0 || gid == nullptr) continue;
    entry.gid = KJ_ASSERT_NONNULL(gid);
    if (!each(entry)) return;
  }
}

bool hasMember(GroupEntry& entry, Text name) {
  auto rest = entry.members;
  while (rest.size() > 0) {
    if (same(takeUntil(rest, ','), name)) return true;
  }
  return false;
}

// True for what can only be meant as an id. Such text is never looked up as a name: the kubelet
// takes an image's user "1000" for uid 1000 (runAsNonRoot), whatever the image's passwd calls by
// that name.
bool isNumber(Text text) {
  for (char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return text.size() > 0;
}

kj::Maybe<gid_t> findGroup(Text group, Text nameOrId) {
  if (isNumber(nameOrId)) return parseId(nameOrId);
  kj::Maybe<gid_t> found;
  eachGroup(group, [&](GroupEntry& entry) {
    if (!same(entry.name, nameOrId)) return true;
    found = entry.gid;
    return false;
  });
  return found;
}

const char* addGroup(FoundUser& found, gid_t gid) {
  for (uint32_t i = 0; i < found.groupCount; ++i) {
    if (found.groups[i] == gid) return nullptr;
  }
  if (found.groupCount == Report::MAX_GROUPS) return "it is in more than 1024 groups";
  found.groups[found.groupCount++] = gid;
  return nullptr;
}

}  // namespace

const char* lookUpUser(User::Reader user, Text passwd, Text group, FoundUser& found) {
  Text groupPart;
  kj::Maybe<PasswdEntry> entry;
  Text name;
  if (user.isUid()) {
    if (user.getUid() > MAX_ID) return "the number is no user id";
    found.uid = user.getUid();
    entry = findPasswdEntry(passwd, [&](PasswdEntry& e) { return isId(e.uid, found.uid); });
  } else {
    Text rest = user.getName();
    auto userPart = takeUntil(rest, ':');
    groupPart = rest;
    if (userPart.size() == 0) userPart = kj::StringPtr("0").asArray();
    if (isNumber(userPart)) {
      auto id = parseId(userPart);
      if (id == nullptr) return "the number is no user id";
      found.uid = KJ_ASSERT_NONNULL(id);
      entry = findPasswdEntry(passwd, [&](PasswdEntry& e) { return isId(e.uid, found.uid); });
    } else {
      entry = findPasswdEntry(passwd, [&](PasswdEntry& e) { return same(e.name, userPart); });
      if (entry == nullptr) return "the image's /etc/passwd has no such user";
    }
  }
  found.gid = 0;
  KJ_IF_MAYBE (e, entry) {
    found.uid = KJ_ASSERT_NONNULL(parseId(e->uid));
    found.gid = KJ_ASSERT_NONNULL(parseId(e->gid));
    found.home = e->home;
    name = e->name;
  }

  if (user.getGroup().isGid()) {
    found.gid = user.getGroup().getGid();
    if (found.gid > MAX_ID) return "the number is no group id";
  } else if (groupPart.size() > 0) {
    auto gid = findGroup(group, groupPart);
    if (gid == nullptr) return "the image's /etc/group has no such group";
    found.gid = KJ_ASSERT_NONNULL(gid);
  }

  found.groupCount = 0;
  const char* reason = addGroup(found, found.gid);
  for (auto gid : user.getAdditionalGids()) {
    if (gid > MAX_ID) return "a supplementary group's number is no group id";
    if (reason == nullptr) reason = addGroup(found, gid);
  }
  if (user.getStrictGroups() || name.size() == 0) return reason;
  eachGroup(group, [&](GroupEntry& e) {
    if (reason == nullptr && hasMember(e, name)) reason = addGroup(found, e.gid);
    return reason == nullptr;
  });
  return reason;
}

}  // namespace belay::shim
