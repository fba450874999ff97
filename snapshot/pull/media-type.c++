// See media-type.h.
#include "snapshot/pull/media-type.h"

namespace belay::snapshot {

kj::Maybe<Compression> compressionOfMediaType(kj::StringPtr mediaType) {
  struct Known {
    kj::StringPtr type;
    Compression compression;
  };
  static constexpr const char* OCI = "application/vnd.oci.image.layer.v1.tar";
  static constexpr const char* OCI_FOREIGN =
      "application/vnd.oci.image.layer.nondistributable.v1.tar";
  static constexpr const char* DOCKER = "application/vnd.docker.image.rootfs.diff.tar";
  static constexpr const char* DOCKER_FOREIGN =
      "application/vnd.docker.image.rootfs.foreign.diff.tar";
  for (kj::StringPtr base : {OCI, OCI_FOREIGN, DOCKER, DOCKER_FOREIGN}) {
    if (!mediaType.startsWith(base)) continue;
    kj::StringPtr suffix = mediaType.slice(base.size());
    if (suffix == "") return Compression::NONE;
    if (suffix == "+gzip" || suffix == ".gzip") return Compression::GZIP;
    if (suffix == "+zstd" || suffix == ".zstd") return Compression::ZSTD;
  }
  return nullptr;
}

}  // namespace belay::snapshot
