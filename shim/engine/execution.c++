// What the last steps of a container's process need.
#include "shim/engine/execution.h"

#include <errno.h>
#include <sys/mman.h>

#include <cstring>

#include "shim/engine/seccomp-listener.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr PATH = "PATH="_kj;

struct Sizes {
  size_t pointers = 0;
  size_t text = 0;

  void add(char* const* strings) {
    for (; *strings != nullptr; ++strings) {
      ++pointers;
      text += strlen(*strings) + 1;
    }
    ++pointers;
  }

  size_t bytes() const { return pointers * sizeof(char*) + text; }
};

// Puts strings and their addresses one after the other into a mapping.
class Packer {
 public:
  Packer(void* mapping, const Sizes& sizes)
      : pointers(static_cast<char**>(mapping)),
        text(reinterpret_cast<char*>(pointers + sizes.pointers)) {}

  char* const* add(char* const* strings) {
    char** first = pointers;
    for (; *strings != nullptr; ++strings)
      *pointers++ = add(*strings, strlen(*strings) + 1);
    *pointers++ = nullptr;
    return first;
  }

  char* add(const void* bytes, size_t size) {
    char* place = text;
    if (size > 0) memcpy(place, bytes, size);
    text += size;
    return place;
  }

 private:
  char** pointers;
  char* text;
};

}  // namespace

Execution takeExecution(const Reporter& reporter, ProcessPlan& plan) {
  Sizes sizes;
  sizes.add(plan.argv());
  sizes.add(plan.envp());
  auto filter = plan.spec.getSeccompFilter();
  void* mapping = mmap(nullptr, sizes.bytes() + filter.size(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) reporter.fail("copy the command", "", errno);

  Packer packer(mapping, sizes);
  auto capabilities = plan.spec.getCapabilities();
  Execution execution = {
      .argv = packer.add(plan.argv()),
      .envp = packer.add(plan.envp()),
      .filterFlags = plan.spec.getSeccompFlags(),
      .hasListener = hasListener(plan.spec),
      .effective = capabilities.getEffective(),
      .permitted = capabilities.getPermitted(),
      .inheritable = capabilities.getInheritable(),
      .terminal = plan.spec.getTerminal(),
      .noNewPrivileges = plan.spec.getNoNewPrivileges(),
  };
  // Of several the last one counts, as the plan has it; a default is a constant of the program.
  execution.searchPath = plan.searchPath();
  for (auto variable = execution.envp; *variable != nullptr; ++variable) {
    if (strncmp(*variable, PATH.cStr(), PATH.size()) == 0) {
      execution.searchPath = *variable + PATH.size();
    }
  }
  auto copy = reinterpret_cast<const kj::byte*>(packer.add(filter.begin(), filter.size()));
  execution.filter = kj::arrayPtr(copy, filter.size());
  return execution;
}

}  // namespace belay::shim
