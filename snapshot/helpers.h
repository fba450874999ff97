// The short-lived processes that do belayd's long disk work and touch strangers' bytes: the modes
// of belay-pull (pull.capnp says what each is given). Everything here returns at once and leaves
// the event loop free; dropping a promise kills the process behind it.
#pragma once

#include <kj/async-io.h>
#include <kj/string.h>

#include "snapshot/digest.h"
#include "snapshot/sys/child.h"
#include "snapshot/sys/helper-place.h"

namespace belay::snapshot {

// Space on disk.
struct Usage {
  uint64_t bytes = 0;
  uint64_t inodes = 0;
};

class Helpers {
 public:
  // `program` is the path of belay-pull. The others outlive this object. Helpers live in `place`,
  // if it is given.
  Helpers(Children& children, kj::LowLevelAsyncIoProvider& io, kj::StringPtr program,
          kj::Maybe<HelperPlace&> place = nullptr);

  // See HelperPlace: a pull waits for it.
  kj::Promise<void> whenFree();

  struct Outcome {
    ExitStatus status;
    kj::String report;  // the line without its end; at most MAX_REPORT_BYTES
  };

  // Starts `belay-pull MODE ARGUMENTS` with the descriptors given and a report pipe as
  // `reportNumber`, and waits for its end. The descriptors are borrowed for the call itself only.
  kj::Promise<Outcome> run(kj::ArrayPtr<const kj::StringPtr> arguments,
                           kj::ArrayPtr<const Command::Descriptor> descriptors, int reportNumber);

  // Starts belay-pull with the given descriptors, borrowed likewise. It is killed when the result
  // is dropped. MODE `fetch` also gets belayd's proxy variables.
  kj::Own<Child> start(kj::ArrayPtr<const kj::StringPtr> arguments,
                       kj::ArrayPtr<const Command::Descriptor> descriptors);

  struct Hashed {
    Digest digest;
    uint64_t bytes;
  };
  // Of a file, from the descriptor's position to its end.
  kj::Promise<Hashed> hash(int file);

  // Deletes everything inside a folder, not the folder itself. Follows no link, crosses no mount.
  kj::Promise<void> removeContents(int folder);

  // What is inside a folder takes on disk, the folder included. Not exact for a tree that changes.
  kj::Promise<Usage> measure(int folder);

  // syncfs(2) of the file system that the folder is on.
  kj::Promise<void> sync(int folder);

  // Unpacks a layer's blob into a folder, and gives the digest of its uncompressed tar.
  // Throws FAILED_PRECONDITION when the blob is no such layer, RESOURCE_EXHAUSTED on a full disk.
  struct Unpacked {
    Digest diffId;
    uint64_t entries;
    uint64_t bytes;
  };
  kj::Promise<Unpacked> unpack(int blob, kj::StringPtr mediaType, int folder);

  // See Children::whenAllStarted().
  kj::Promise<void> whenAllStarted() { return children.whenAllStarted(); }

  kj::LowLevelAsyncIoProvider& ioProvider() { return io; }
  kj::Timer& timer() { return io.getTimer(); }

  static constexpr size_t MAX_REPORT_BYTES = 4096;

 private:
  Children& children;
  kj::LowLevelAsyncIoProvider& io;
  kj::String program;
  kj::Maybe<HelperPlace&> place;

  kj::Promise<kj::String> runOnFolder(kj::StringPtr mode, int folder);
};

}  // namespace belay::snapshot
