// Who a container's processes are.
#include "supervisor/spec/user.h"

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

// 2^32 - 1 means "leave as it is" to setresuid(2), so it is nobody's id.
constexpr int64_t MAX_ID = 0xfffffffe;
constexpr size_t MAX_NAME_BYTES = 256;

uint32_t checkId(kj::StringPtr field, int64_t id) {
  if (id < 0 || id > MAX_ID) refuse(field, id, " is not between 0 and ", MAX_ID);
  return static_cast<uint32_t>(id);
}

void checkName(kj::StringPtr field, kj::StringPtr name) {
  requireNoNul(field, name);
  if (name.size() > MAX_NAME_BYTES) refuse(field, "longer than ", MAX_NAME_BYTES, " bytes");
  if (name.findFirst('\n') != nullptr) refuse(field, "contains a line break");
}

}  // namespace

void fillUser(shim::User::Builder user, SecurityContext::Reader security,
              snapshot::ImageConfig::Reader image) {
  bool hasUid = security.getRunAsUser().isValue();
  kj::StringPtr name = security.getRunAsUsername();
  if (hasUid && name.size() > 0) {
    refuse("run_as_user", "run_as_username is given as well; only one may be");
  }
  if (hasUid) {
    user.setUid(checkId("run_as_user", security.getRunAsUser().getValue()));
  } else if (name.size() > 0) {
    checkName("run_as_username", name);
    if (name.findFirst(':') != nullptr) refuse("run_as_username", "contains ':'");
    user.setName(name);
  } else if (image.getUser().size() > 0) {
    checkName("the image's user", image.getUser());
    user.setName(image.getUser());
  } else {
    user.setUid(0);
  }

  if (security.getRunAsGroup().isValue()) {
    if (!hasUid && name.size() == 0) {
      refuse("run_as_group", "needs run_as_user or run_as_username");
    }
    user.getGroup().setGid(checkId("run_as_group", security.getRunAsGroup().getValue()));
  }

  auto wanted = security.getSupplementalGroups();
  auto groups = user.initAdditionalGids(wanted.size());
  for (kj::uint i = 0; i < wanted.size(); ++i) {
    groups.set(i, checkId("supplemental_groups", wanted[i]));
  }
  user.setStrictGroups(security.getStrictGroups());
}

}  // namespace belay::supervisor
