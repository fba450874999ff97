// The shim's memory in a child of it.
#include "shim/engine/shim-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace belay::shim {
namespace {

constexpr const char* STEP = "forget the shim's memory";
constexpr uintptr_t PAGE = 4096;

// Around the thread pointer, where the C library keeps errno and the stack protector's secret: the
// thread's variables are below it, its control block (2.3 KiB in glibc 2.36) above.
constexpr uintptr_t THREAD_BYTES = 4096;

// Left of the stack below the caller, for the calls of forget() itself.
constexpr uintptr_t STACK_MARGIN = 4 * PAGE;

uintptr_t pageDown(uintptr_t address) {
  return address & ~(PAGE - 1);
}

uintptr_t pageUp(uintptr_t address) {
  return pageDown(address + PAGE - 1);
}

}  // namespace

void ShimMemory::note(const Reporter& reporter) {
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) reporter.fail(STEP, "/proc/self/maps", errno);
  uintptr_t fileEnd = 0;
  char buffer[8192];
  size_t size = 0;
  for (;;) {
    ssize_t n = read(fd, buffer + size, sizeof(buffer) - 1 - size);
    if (n < 0) reporter.fail(STEP, "/proc/self/maps", errno);
    if (n == 0) break;
    size += n;
    buffer[size] = '\0';
    char* line = buffer;
    while (char* end = strchr(line, '\n')) {
      *end = '\0';
      noteLine(reporter, line, fileEnd);
      line = end + 1;
    }
    size -= line - buffer;
    memmove(buffer, line, size);
  }
  close(fd);
}

void ShimMemory::noteLine(const Reporter& reporter, const char* line, uintptr_t& fileEnd) {
  // proc_pid_maps(5): 7f00-7f01 rw-p 00000000 00:00 0    [name]
  unsigned long begin, end, inode;
  char permissions[5];
  int nameAt = 0;
  if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu %n", &begin, &end, permissions, &inode, &nameAt) !=
      4) {
    reporter.fail(STEP, line, EINVAL);
  }
  const char* name = line + nameAt;
  if (inode != 0) {
    fileEnd = end;
    return;
  }
  if (strcmp(permissions, "rw-p") != 0) return;
  if (strcmp(name, "[stack]") == 0) {
    stack = {begin, end};
    return;
  }
  // What follows a file's mapping at once are a program's zeroed variables (bss).
  if (begin == fileEnd && name[0] == '\0') return;
  if (count == MAX_RANGES) reporter.fail(STEP, "", E2BIG);
  ranges[count++] = {begin, end};
}

void ShimMemory::forget(const Reporter& reporter) const {
// Whose allocator and shadow of the stack are in such mappings.
#if !__has_feature(address_sanitizer)
  uintptr_t thread = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
  Range kept = {pageDown(thread - THREAD_BYTES), pageUp(thread + THREAD_BYTES)};
  for (size_t i = 0; i < count; ++i) {
    auto range = ranges[i];
    drop(reporter, {range.begin, std::min(range.end, kept.begin)});
    drop(reporter, {std::max(range.begin, kept.end), range.end});
  }
  uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  drop(reporter, {stack.begin, pageDown(here - STACK_MARGIN)});
#endif
}

// Private anonymous pages come back as zeroes, madvise(2).
void ShimMemory::drop(const Reporter& reporter, Range range) const {
  if (range.begin >= range.end) return;
  if (madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin, MADV_DONTNEED) < 0) {
    reporter.fail(STEP, "", errno);
  }
}

}  // namespace belay::shim
