// ImageFsInfo: how much disk images and containers take. Both lie on one file system.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::ImageFsInfoResponse> imageFsInfo(Context& context, const v1::ImageFsInfoRequest&) {
  auto usage = co_await context.runtime.imageFilesystem();
  v1::ImageFsInfoResponse response;
  auto& item = *response.add_image_filesystems();
  item.set_timestamp(usage.timestampNs);
  item.mutable_fs_id()->set_mountpoint(replyText(usage.mountpoint));
  item.mutable_used_bytes()->set_value(usage.usedBytes);
  item.mutable_inodes_used()->set_value(usage.inodesUsed);
  // The same again: the kubelet compares the two to learn whether there are two disks.
  *response.add_container_filesystems() = item;
  co_return response;
}

}  // namespace belay::criapi
