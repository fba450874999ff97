// The file-descriptor mount API.
#include "shim/sys/mounts.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace belay::sys {

int cloneTree(int directory, const char* path, Recursion recursion) {
  unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  if (recursion == Recursion::RECURSIVE) flags |= AT_RECURSIVE;
  return open_tree(directory, path, flags);
}

int attach(int tree, int target) {
  return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int changeMount(int tree, uint64_t set, uint64_t clear, uint64_t propagation, Recursion recursion) {
  struct mount_attr attributes = {};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  attributes.propagation = propagation;
  unsigned int flags = AT_EMPTY_PATH;
  if (recursion == Recursion::RECURSIVE) flags |= AT_RECURSIVE;
  return mount_setattr(tree, "", flags, &attributes, sizeof(attributes));
}

int mapIds(int tree, int userNamespace) {
  struct mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = userNamespace;
  return mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes));
}

int newMount(const char* type, const MountOption* options, size_t count, uint64_t attributes) {
  int context = fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int result = 0;
  for (size_t i = 0; i < count && result == 0; ++i) {
    auto command = options[i].value == nullptr ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    result = fsconfig(context, command, options[i].key, options[i].value, 0);
  }
  if (result == 0) result = fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  if (result == 0) result = fsmount(context, FSMOUNT_CLOEXEC, attributes);
  int error = errno;
  close(context);
  errno = error;
  return result;
}

void readMountLog(int context, char* text, size_t size) {
  text[0] = '\0';
  ssize_t n = read(context, text, size - 1);
  if (n <= 0) {
    text[0] = '\0';
    return;
  }
  text[n] = '\0';
  // "e overlay: something": the severity and a space come first.
  if (n > 2 && text[1] == ' ') memmove(text, text + 2, n - 1);
  if (char* end = strchr(text, '\n')) *end = '\0';
}

int pivotRoot(const char* newRoot, const char* putOld) {
  return syscall(SYS_pivot_root, newRoot, putOld);
}

}  // namespace belay::sys
