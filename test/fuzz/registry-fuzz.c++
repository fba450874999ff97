// Fuzzes what a registry says: challenges, error bodies, manifests, indexes and configurations.
#include <capnp/message.h>
#include <kj/exception.h>
#include <stdint.h>

#include "snapshot/pull/challenge.h"
#include "snapshot/pull/image-builder.h"
#include "snapshot/pull/registry-error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace belay::snapshot;
  if (size == 0) return 0;
  constexpr ManifestLimits LIMITS{1 << 20, 1 << 30, 100};
  auto bytes = kj::arrayPtr(data + 1, size - 1);
  kj::runCatchingExceptions([&]() {
    switch (data[0] % 5) {
      case 0:
        parseChallenges(kj::heapString(bytes.asChars()));
        break;
      case 1:
        describeRefusal(404, bytes);
        break;
      case 2:
        manifestKind(bytes, "");
        parseIndex(bytes, LIMITS);
        break;
      case 3:
        parseManifest(bytes, LIMITS);
        break;
      case 4: {
        auto digest = Digest::of(bytes);
        ImageParts parts{{}, {}, {}, digest, {{digest, 0, {}, {}, {}}, {}}, kj::heapArray(bytes)};
        capnp::MallocMessageBuilder message;
        buildImage(message.initRoot<Image>(), parts, {kj::str("linux"), kj::str("amd64"), {}});
        break;
      }
    }
  });
  return 0;
}
