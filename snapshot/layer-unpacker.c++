// See layer-unpacker.h.
#include "snapshot/layer-unpacker.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"

namespace belay::snapshot {

class LayerUnpacker::Job : public kj::Refcounted {
 public:
  Job(LayerUnpacker& unpacker, LayerSource source, kj::Maybe<kj::Own<Job>> below)
      : unpacker(unpacker),
        chainId(source.chainId),
        done(unpacker.make(kj::mv(source), kj::mv(below)).fork()) {
    unpacker.jobs.insert(chainId, this);
  }
  ~Job() noexcept(false) { unpacker.jobs.erase(chainId); }

  kj::Promise<void> whenDone() { return done.addBranch(); }

 private:
  LayerUnpacker& unpacker;
  Digest chainId;
  kj::ForkedPromise<void> done;
};

LayerUnpacker::LayerUnpacker(Store& store, Helpers& helpers, kj::uint parallel)
    : store(store), helpers(helpers), slots(parallel) {}

kj::Promise<void> LayerUnpacker::unpack(kj::Array<LayerSource> layers) {
  kj::Vector<kj::Own<Job>> wanted;
  kj::Maybe<kj::Own<Job>> below;
  for (auto& layer : layers) {
    KJ_IF_MAYBE (running, jobs.find(layer.chainId)) {
      below = kj::addRef(**running);
    } else if (store.hasLayer(layer.chainId)) {
      below = nullptr;
      continue;
    } else {
      below = kj::refcounted<Job>(*this, kj::mv(layer), kj::mv(below));
    }
    wanted.add(kj::addRef(*KJ_ASSERT_NONNULL(below)));
  }
  // Bottom first: the failure of a layer is told rather than that of those above it.
  for (auto& job : wanted)
    co_await job->whenDone();
}

kj::Promise<void> LayerUnpacker::make(LayerSource source, kj::Maybe<kj::Own<Job>> below) {
  co_await store.whenBlobArrives(source.blob);
  auto slot = co_await slots.take();
  auto staging = store.newStaging();
  CO_FAILPOINT(helpers.timer(), "belayd.pull-image/before-unpacking");
  kj::Maybe<kj::AutoCloseFd> blob = store.openBlob(source.blob);
  if (blob == nullptr) {
    fail(Code::FAILED_PRECONDITION, "layer blob ", source.blob, " is not in the store");
  }
  auto made = co_await helpers.unpack(KJ_ASSERT_NONNULL(blob), source.mediaType, staging->folder());
  slot = nullptr;
  if (!(made.diffId == source.diffId)) {
    fail(Code::FAILED_PRECONDITION, "layer blob ", source.blob, ": its content has the digest ",
         made.diffId, ", but the image's configuration says ", source.diffId);
  }
  KJ_IF_MAYBE (job, below) {
    co_await (*job)->whenDone();
  }
  store.commitLayer(*staging, source.chainId, Usage{.bytes = made.bytes, .inodes = made.entries});
}

}  // namespace belay::snapshot
