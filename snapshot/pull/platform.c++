// See platform.h.
#include "snapshot/pull/platform.h"

namespace belay::snapshot {

namespace {

// Other names in use for the same thing, as containerd's platforms package takes them.
kj::StringPtr architectureOf(const Platform& platform) {
  if (platform.architecture == "x86_64" || platform.architecture == "x86-64") return "amd64";
  if (platform.architecture == "aarch64") return "arm64";
  if (platform.architecture == "armhf" || platform.architecture == "armel") return "arm";
  return platform.architecture;
}

// The number in "v7". What is left out means the architecture's base line; a variant that is no
// number fits only itself and gets none.
kj::Maybe<int> levelOf(const Platform& platform) {
  kj::StringPtr architecture = architectureOf(platform);
  kj::StringPtr variant = platform.variant;
  if (variant == "") {
    if (architecture == "arm64") return 8;
    if (architecture == "arm") return 7;
    return 1;
  }
  if (variant.startsWith("v")) variant = variant.slice(1);
  if (variant.size() == 1 && variant[0] >= '0' && variant[0] <= '9') return variant[0] - '0';
  return nullptr;
}

// How well the image fits: negative when it does not run.
int fitness(const Platform& image, const Platform& machine) {
  if (image.os != machine.os || architectureOf(image) != architectureOf(machine)) return -1;
  KJ_IF_MAYBE (have, levelOf(image)) {
    KJ_IF_MAYBE (most, levelOf(machine)) {
      return *have <= *most ? *have : -1;
    }
  }
  return image.variant == machine.variant ? 0 : -1;
}

}  // namespace

kj::Maybe<const Descriptor&> choosePlatform(kj::ArrayPtr<const Descriptor> entries,
                                            const Platform& machine) {
  kj::Maybe<const Descriptor&> best;
  int bestFitness = -1;
  kj::Maybe<const Descriptor&> unnamed;
  for (const Descriptor& entry : entries) {
    if (entry.platform.os == "" && entry.platform.architecture == "") {
      if (unnamed == nullptr) unnamed = entry;
      continue;
    }
    int fit = fitness(entry.platform, machine);
    if (fit > bestFitness) {
      best = entry;
      bestFitness = fit;
    }
  }
  return best == nullptr ? unnamed : best;
}

bool runsOn(const Platform& image, const Platform& machine) {
  return fitness(image, machine) >= 0;
}

kj::String platformName(const Platform& platform) {
  kj::StringPtr slash = platform.variant == "" ? "" : "/";
  return kj::str(platform.os, '/', platform.architecture, slash, platform.variant);
}

}  // namespace belay::snapshot
