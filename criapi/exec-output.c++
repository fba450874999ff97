// A command's output, from the memory files it was collected in to a reply that a client accepts.
#include "criapi/exec-output.h"

#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace belay::criapi {
namespace {

size_t sizeOf(int file) {
  struct stat status;
  KJ_SYSCALL(fstat(file, &status), "read the size of a command's output");
  return status.st_size;
}

// The file's first `size` bytes, or fewer if it ends before.
std::string readFrom(int file, size_t size) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    ssize_t n;
    KJ_SYSCALL(n = pread(file, bytes.data() + have, size - have, have), "read a command's output");
    if (n == 0) break;
    have += n;
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace

void readExecOutput(const supervisor::ExecResult& result, runtime::v1::ExecSyncResponse& reply,
                    size_t limit) {
  size_t output = sizeOf(result.output);
  size_t errors = sizeOf(result.errors);
  size_t half = limit / 2;
  size_t outputShare = std::min(output, std::max(half, limit - std::min(errors, limit)));
  size_t errorsShare = std::min(errors, limit - outputShare);
  *reply.mutable_stdout() = readFrom(result.output, outputShare);
  *reply.mutable_stderr() = readFrom(result.errors, errorsShare);
}

}  // namespace belay::criapi
