// Names of images as people write them ("busybox", "localhost:5000/app@sha256:...") and in full.
#pragma once

#include <kj/string.h>

#include "snapshot/digest.h"

namespace belay::snapshot {

// A fully qualified image name. The grammar and the defaults are those of the distribution
// project's reference package, which every Kubernetes client follows.
struct Reference {
  kj::String registry;    // "docker.io", "localhost:5000"
  kj::String repository;  // "library/busybox"
  // At least one of the two; the digest wins when content is looked up.
  kj::Maybe<kj::String> tag;
  kj::Maybe<Digest> digest;

  // Completes what is left out: the registry docker.io, its `library/`, the tag `latest` when
  // neither tag nor digest is given. Throws INVALID_ARGUMENT saying which part is wrong.
  static Reference parse(kj::StringPtr text);
  // Null where parse() throws.
  static kj::Maybe<Reference> tryParse(kj::StringPtr text);

  // "docker.io/library/busybox"
  kj::String name() const;
  // "docker.io/library/busybox:latest", the repoTag; null without a tag.
  kj::Maybe<kj::String> taggedName() const;
  // "docker.io/library/busybox@sha256:...", the repoDigest for this content.
  kj::String nameWith(const Digest& contentDigest) const;
  // All that is known: name, tag, digest.
  kj::String toString() const;

  Reference clone() const;
};

}  // namespace belay::snapshot
