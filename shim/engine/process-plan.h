// What a child needs for execve, laid out before the clone because nothing is allocated after it.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "shim/spec.capnp.h"

namespace belay::shim {

class ProcessPlan {
 public:
  // Why the arguments and variables of the spec are none, for a person, or null.
  static const char* findFault(ProcessSpec::Reader spec);

  // `spec` has no fault, and must stay valid: children read it, too.
  explicit ProcessPlan(ProcessSpec::Reader spec);
  KJ_DISALLOW_COPY(ProcessPlan);

  ProcessSpec::Reader spec;

  char* const* argv() { return arguments.begin(); }
  char* const* envp() { return variables.begin(); }

  // $PATH of the process, or the default of the peers.
  const char* searchPath() const { return path; }

  // Sets HOME unless the spec does. Called by the child, which knows the user: allocates nothing.
  // An overlong or empty home becomes "/".
  void setHome(kj::ArrayPtr<const char> home);

 private:
  kj::Array<char> text;
  kj::Array<char*> arguments;
  kj::Array<char*> variables;
  // With room for HOME.
  char homeText[512];
  const char* path;
  bool hasHome = false;
};

}  // namespace belay::shim
