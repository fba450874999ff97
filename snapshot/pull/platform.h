// Which manifest of an index is for this machine (OCI image-index.md, "platform").
#pragma once

#include "snapshot/pull/manifest.h"

namespace belay::snapshot {

// The entry to take: same operating system and architecture, and of those the best variant that
// this machine runs (arm v7 runs v6 and v5; amd64 v3 runs v2 and v1; none named is the base line).
// Entries that name no platform serve when nothing better is there. Null when none fits.
kj::Maybe<const Descriptor&> choosePlatform(kj::ArrayPtr<const Descriptor> entries,
                                            const Platform& machine);

// Whether an image made for `image` runs on `machine`.
bool runsOn(const Platform& image, const Platform& machine);

// "linux/arm/v7", for a person.
kj::String platformName(const Platform& platform);

}  // namespace belay::snapshot
