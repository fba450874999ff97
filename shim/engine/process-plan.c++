// What a child needs for execve.
#include "shim/engine/process-plan.h"

#include <cstring>

namespace belay::shim {
namespace {

constexpr const char* DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr kj::StringPtr HOME = "HOME="_kj;

size_t textSize(capnp::List<capnp::Data>::Reader items) {
  size_t size = 0;
  for (auto item : items)
    size += item.size() + 1;
  return size;
}

// Copies the items as C strings to `text`, which moves on, and their addresses to `pointers`.
void layOut(capnp::List<capnp::Data>::Reader items, char*& text, kj::Array<char*>& pointers) {
  size_t i = 0;
  for (auto item : items) {
    pointers[i++] = text;
    if (item.size() > 0) memcpy(text, item.begin(), item.size());
    text[item.size()] = '\0';
    text += item.size() + 1;
  }
  while (i < pointers.size())
    pointers[i++] = nullptr;
}

bool hasNulByte(capnp::List<capnp::Data>::Reader items) {
  for (auto item : items) {
    if (item.size() > 0 && memchr(item.begin(), '\0', item.size()) != nullptr) return true;
  }
  return false;
}

}  // namespace

const char* ProcessPlan::findFault(ProcessSpec::Reader spec) {
  if (spec.getArgs().size() == 0 || spec.getArgs()[0].size() == 0) {
    return "there is no command to run";
  }
  if (hasNulByte(spec.getArgs())) return "an argument has a NUL byte in it";
  if (hasNulByte(spec.getEnv())) return "an environment variable has a NUL byte in it";
  return nullptr;
}

ProcessPlan::ProcessPlan(ProcessSpec::Reader spec)
    : spec(spec),
      text(kj::heapArray<char>(textSize(spec.getArgs()) + textSize(spec.getEnv()))),
      arguments(kj::heapArray<char*>(spec.getArgs().size() + 1)),
      variables(kj::heapArray<char*>(spec.getEnv().size() + 2)),
      path(DEFAULT_PATH) {
  char* place = text.begin();
  layOut(spec.getArgs(), place, arguments);
  layOut(spec.getEnv(), place, variables);
  for (size_t i = 0; variables[i] != nullptr; ++i) {
    kj::StringPtr variable = variables[i];
    if (variable.startsWith("PATH=")) path = variables[i] + 5;
    if (variable.startsWith(HOME)) hasHome = true;
  }
}

void ProcessPlan::setHome(kj::ArrayPtr<const char> home) {
  if (hasHome) return;
  hasHome = true;
  memcpy(homeText, HOME.begin(), HOME.size());
  char* place = homeText + HOME.size();
  if (home.size() == 0 || home.size() >= sizeof(homeText) - HOME.size()) {
    home = kj::StringPtr("/").asArray();
  }
  memcpy(place, home.begin(), home.size());
  place[home.size()] = '\0';
  size_t last = 0;
  while (variables[last] != nullptr)
    ++last;
  variables[last] = homeText;
}

}  // namespace belay::shim
