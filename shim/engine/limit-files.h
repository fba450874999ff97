// The control files of one cgroup, written so that a change of several is made whole or not at all.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include "shim/engine/cgroup-hierarchies.h"

namespace belay::shim {

class LimitFiles {
 public:
  // NEVER: for a cgroup that goes as a whole if a limit is refused. UNLESS_KEPT: every file's
  // former contents are read before it is written, and written back, last one first, when this
  // object goes before keep() was called.
  enum class PutBack { NEVER, UNLESS_KEPT };

  // `path` is relative to each hierarchy's root.
  LimitFiles(kj::StringPtr path, PutBack putBack) : path(path), putBack(putBack) {}
  ~LimitFiles() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(LimitFiles);

  // Returns 0 or the errno. A file that cannot be read is not written.
  int tryWrite(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr file,
               kj::StringPtr value);

  // Throws refusal().
  void write(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr file,
             kj::StringPtr value);

  bool has(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr file) const;

  // A file with one number, or "max", which is the largest. Throws if there is no such file.
  uint64_t readNumber(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr file) const;

  // What is said of a value that the kernel does not take: file, value and errno's text.
  kj::Exception refusal(kj::StringPtr file, kj::StringPtr value, int error,
                        kj::StringPtr detail = nullptr) const;

  bool isReversible() const { return putBack == PutBack::UNLESS_KEPT; }
  void keep() { written.clear(); }

 private:
  struct Written {
    int root;
    kj::String file;
    kj::Vector<kj::String> former;  // each to be written by itself
  };

  kj::StringPtr path;
  PutBack putBack;
  kj::Vector<Written> written;
};

// What is to be written to undo the writing of `value` to a control file that held `contents`: all
// of it, or, of a file with a line for each device ("8:0 rbps=1024"), this device's line; if there
// is none, what the kernel takes for its absence. For LimitFiles and its test.
kj::Vector<kj::String> formerLines(kj::StringPtr file, kj::StringPtr contents, kj::StringPtr value);

}  // namespace belay::shim
