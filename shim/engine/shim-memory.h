// The shim's memory in a child of it, and how the child loses it before a container can see it. A
// fork's copy holds what the shim knows of other containers (their secrets in environment
// variables), and who may trace reads it out of a child that is about to run in the container.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shim/engine/report.h"

namespace belay::shim {

// For children after the clone: allocates nothing, reports failures and exits.
class ShimMemory {
 public:
  // Takes down where it lies: heap and anonymous mappings. The host's procfs must still be there.
  // What the child maps later is its own.
  void note(const Reporter& reporter);

  // Empties it, and the stack below the caller. From here on nothing may be used that was not on
  // the caller's stack, in a constant, or mapped after note(). The C library's calls without
  // allocation go on working.
  void forget(const Reporter& reporter) const;

 private:
  struct Range {
    uintptr_t begin;
    uintptr_t end;
  };
  // A shim has a handful of mappings; its heap is one.
  static constexpr size_t MAX_RANGES = 256;

  Range ranges[MAX_RANGES];
  size_t count = 0;
  Range stack = {0, 0};

  // One line of /proc/self/maps. `fileEnd` is the end of the last file's mapping before it.
  void noteLine(const Reporter& reporter, const char* line, uintptr_t& fileEnd);
  void drop(const Reporter& reporter, Range range) const;
};

}  // namespace belay::shim
