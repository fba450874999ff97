// What a process may do.
#include "shim/sys/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace belay::sys {

int setCapabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
    data[i].effective = effective >> (32 * i);
    data[i].permitted = permitted >> (32 * i);
    data[i].inheritable = inheritable >> (32 * i);
  }
  return syscall(SYS_capset, &header, data);
}

int permittedCapabilities(uint64_t& permitted) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, data) < 0) return -1;
  permitted = data[0].permitted | uint64_t(data[1].permitted) << 32;
  return 0;
}

int limitBoundingSet(uint64_t keep) {
  for (int capability = 0; capability < 64; ++capability) {
    int present = prctl(PR_CAPBSET_READ, capability);
    if (present < 0) break;  // Past the last one.
    if (present == 0 || (keep >> capability & 1)) continue;
    if (prctl(PR_CAPBSET_DROP, capability) < 0) return -1;
  }
  return 0;
}

int setAmbient(uint64_t ambient) {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -1;
  for (int capability = 0; capability < 64; ++capability) {
    if (!(ambient >> capability & 1)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) return -1;
  }
  return 0;
}

int loadFilter(const void* instructions, size_t bytes, unsigned flags) {
  size_t count = bytes / sizeof(struct sock_filter);
  if (bytes % sizeof(struct sock_filter) != 0 || count == 0 || count > BPF_MAXINSNS) {
    errno = EINVAL;
    return -1;
  }
  struct sock_fprog program = {
      .len = static_cast<unsigned short>(count),
      .filter =
          const_cast<struct sock_filter*>(static_cast<const struct sock_filter*>(instructions)),
  };
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

}  // namespace belay::sys
