// Whether a mount source can do what the propagation of the mount promises.
#include "shim/engine/rootfs-propagation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace belay::shim {
namespace {

constexpr const char* STEP = "look up the mount of the source";

// Of one line of mountinfo (proc(5)): "36 35 98:0 /root /point options shared:1 master:2 - ...".
struct MountLine {
  uint64_t id = 0;
  char point[PATH_MAX] = {};
  bool shared = false;
  bool slave = false;
};

// Reads mountinfo a field at a time, without memory for all of it: a node has thousands of mounts.
class Mountinfo {
 public:
  explicit Mountinfo(const Reporter& reporter)
      : reporter(reporter), file(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {
    if (file < 0) reporter.fail(STEP, "/proc/self/mountinfo", errno);
  }
  ~Mountinfo() { close(file); }

  // False at the end.
  bool next(MountLine& line) {
    line = MountLine();
    char field[PATH_MAX];
    bool optional = false;
    for (int index = 0;; ++index) {
      char end = readField(field);
      if (end == '\0' && index == 0) return false;
      if (index == 0) line.id = strtoull(field, nullptr, 10);
      if (index == 4) memcpy(line.point, field, sizeof(field));
      if (index == 6) optional = true;
      if (optional && strcmp(field, "-") == 0) optional = false;
      if (optional && strncmp(field, "shared:", 7) == 0) line.shared = true;
      if (optional && strncmp(field, "master:", 7) == 0) line.slave = true;
      // What follows the dash is of the file system, and may look like anything.
      if (index > 6 && !optional) {
        while (end != '\n' && end != '\0')
          end = readField(field);
      }
      if (end == '\n' || end == '\0') return true;
    }
  }

 private:
  const Reporter& reporter;
  int file;
  char buffer[8192];
  ssize_t filled = 0;
  ssize_t position = 0;

  char readByte() {
    if (position == filled) {
      filled = read(file, buffer, sizeof(buffer));
      position = 0;
      if (filled < 0) reporter.fail(STEP, "/proc/self/mountinfo", errno);
      if (filled == 0) return '\0';
    }
    return buffer[position++];
  }

  // Answers what ended it: a space, a newline, or NUL at the end of the file. What is too long is
  // cut.
  char readField(char (&field)[PATH_MAX]) {
    size_t length = 0;
    for (;;) {
      char c = readByte();
      if (c == ' ' || c == '\n' || c == '\0') {
        field[length] = '\0';
        return c;
      }
      if (length + 1 < sizeof(field)) field[length++] = c;
    }
  }
};

}  // namespace

void requirePropagation(const Reporter& reporter, Mount::Propagation propagation,
                        const char* source, int place) {
  if (propagation == Mount::Propagation::PRIVATE) return;
  struct statx info;
  if (statx(place, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0) {
    reporter.fail(STEP, source, errno);
  }
  Mountinfo mounts(reporter);
  MountLine line;
  do {
    if (!mounts.next(line)) reporter.fail(STEP, source, ENOENT, "it is in no mount table");
  } while (line.id != info.stx_mnt_id);

  bool both = propagation == Mount::Propagation::SHARED;
  if (line.shared || (line.slave && !both)) return;
  char reason[256];
  strcpy(reason, "it is mounted on ");
  strncat(reason, line.point, 160);
  strcat(reason, both ? " but it is not a shared mount (mount --make-rshared makes it one)"
                      : " but it is not a shared or slave mount");
  reporter.refuse(Failure::Code::FAILED_PRECONDITION, "propagate mounts of", source, reason);
}

}  // namespace belay::shim
