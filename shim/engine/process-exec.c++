// The last step of every child of the engine: execve.
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include <cstring>

#include "shim/engine/process-setup.h"

namespace belay::shim {
namespace {

// The shell's codes, which the CRI's users know.
constexpr int EXIT_NOT_FOUND = 127;
constexpr int EXIT_NOT_EXECUTABLE = 126;

constexpr const char* STEP = "run the command";

// True if the search in PATH goes on after this error of execve, as execvp(3) has it.
bool isSearchedFurther(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == ENODEV ||
         error == ESTALE;
}

// Writes "directory/command" to `path`; false if it does not fit. An empty directory is the current
// one (POSIX).
bool join(const char* directory, size_t length, const char* command, char (&path)[PATH_MAX]) {
  size_t commandLength = strlen(command);
  if (length + 1 + commandLength >= sizeof(path)) return false;
  memcpy(path, directory, length);
  if (length > 0) path[length++] = '/';
  memcpy(path + length, command, commandLength + 1);
  return true;
}

}  // namespace

void execute(const Reporter& reporter, const Execution& execution) {
  const char* command = execution.argv[0];
  const char* detail = "";
  int error = ENOENT;
  if (strchr(command, '/') != nullptr) {
    execve(command, execution.argv, execution.envp);
    error = errno;
    if (error == ENOENT && access(command, F_OK) == 0) {
      detail = "the file is there, but not the interpreter or loader it names";
    }
  } else {
    detail = "not found in PATH";
    const char* directory = execution.searchPath;
    for (;;) {
      size_t length = strcspn(directory, ":");
      char path[PATH_MAX];
      if (join(directory, length, command, path)) {
        execve(path, execution.argv, execution.envp);
        // "Permission denied" on the way is worth telling more than that it is not there either.
        if (errno == EACCES || error != EACCES) error = errno;
        if (error != ENOENT) detail = "";
        if (!isSearchedFurther(errno)) break;
      }
      if (directory[length] == '\0') break;
      directory += length + 1;
    }
  }
  reporter.fail(STEP, command, error, detail,
                error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

}  // namespace belay::shim
