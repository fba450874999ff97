// AppArmor as the node has it: which profiles the kernel knows, and belay's own one.
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/string.h>
#include <kj/timer.h>

#include "snapshot/sys/child.h"

namespace belay::supervisor {

class AppArmor {
 public:
  // What containers get that ask for RuntimeDefault, or for nothing.
  static constexpr kj::StringPtr DEFAULT_PROFILE = "belay-default"_kj;

  // Where the kernel has its interface, securityfs.
  static constexpr kj::StringPtr FOLDER = "/sys/kernel/security/apparmor"_kj;

  // Nothing if the kernel does not enforce AppArmor.
  static kj::Maybe<kj::Own<AppArmor>> ofThisKernel();

  // For tests: another folder with "profiles" and ".replace".
  explicit AppArmor(kj::StringPtr folder);
  KJ_DISALLOW_COPY_AND_MOVE(AppArmor);

  // Compiles belay's own profile with apparmor_parser, for the features this kernel has, and loads
  // it. Throws with a sentence that says what is missing; then the default profile cannot be given.
  kj::Promise<void> loadDefault(snapshot::Children& children, kj::Timer& timer);

  // Loads a compiled profile; kept, to be loaded again. Throws what the kernel says.
  void load(kj::Array<kj::byte> compiled);

  // Whether the kernel has the profile now.
  bool isLoaded(kj::StringPtr profile) const;

  // Whether containers can be given the default profile. Loads it again if somebody has removed it
  // (aa-remove-unknown does).
  bool hasDefault();

  // The default profile in AppArmor's own language (apparmor.d(5)).
  static kj::StringPtr defaultText();

 private:
  kj::String folder;
  kj::Array<kj::byte> compiledDefault;
};

}  // namespace belay::supervisor
