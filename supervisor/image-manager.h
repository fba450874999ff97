// Images: PullImage, RemoveImage, imports, the lists, and what may be thrown away.
#pragma once

#include "supervisor/parts.h"
#include "supervisor/runtime.h"

namespace belay::supervisor {

class ImageManager : private kj::TaskSet::ErrorHandler {
 public:
  // Reads the records of the database, and throws away content that belongs to none of them.
  explicit ImageManager(Parts& parts);
  KJ_DISALLOW_COPY_AND_MOVE(ImageManager);

  // The image's id. Its content has survived a power cut, and its record as well, at return.
  kj::Promise<kj::String> pull(kj::String reference, PullCredentials credentials);

  // From an OCI layout in a tar file. `tag`, when not empty, chooses one of several, or names an
  // image that has no name there.
  kj::Promise<kj::String> load(kj::AutoCloseFd archive, kj::String tag);

  // With all its names; done at once for one that is not there. Containers made from it live on.
  kj::Promise<void> remove(kj::StringPtr reference);

  // By id, short id, tag, digest, or name without tag. Null when absent or not even a name.
  kj::Maybe<Owned<snapshot::Image>> find(kj::StringPtr reference);
  // Throws NOT_FOUND.
  Owned<snapshot::Image> require(kj::StringPtr reference);
  kj::Array<Owned<snapshot::Image>> all();

  kj::Promise<FilesystemUsage> usage();

 private:
  Parts& parts;
  kj::HashMap<kj::String, Owned<snapshot::Image>> images;  // by id
  kj::TaskSet tasks;

  kj::Promise<kj::String> carryOutPull(Operation& operation, kj::String reference,
                                       PullCredentials credentials);
  kj::Promise<kj::String> record(Operation& operation, kj::Own<snapshot::PulledImage> pulled);
  void takeNamesFromOthers(snapshot::Image::Reader image,
                           kj::Vector<Owned<snapshot::Image>>& changed);
  bool isBroken(snapshot::Image::Reader image);
  void collectGarbage(snapshot::Store::Recent recent);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
