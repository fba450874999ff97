// Mounts and devices of a container.
#include "criapi/translate-mount.h"

#include "criapi/text.h"
#include "criapi/translate-security.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using Propagation = shim::Mount::Propagation;

Propagation propagationOf(v1::MountPropagation propagation, const Field& field) {
  switch (propagation) {
    case v1::PROPAGATION_PRIVATE:
      return Propagation::PRIVATE;
    case v1::PROPAGATION_HOST_TO_CONTAINER:
      return Propagation::SLAVE;
    case v1::PROPAGATION_BIDIRECTIONAL:
      return Propagation::SHARED;
    default:
      field.refuse("must be PROPAGATION_PRIVATE, _HOST_TO_CONTAINER or _BIDIRECTIONAL");
  }
}

v1::MountPropagation propagationOf(Propagation propagation) {
  switch (propagation) {
    case Propagation::PRIVATE:
      return v1::PROPAGATION_PRIVATE;
    case Propagation::SLAVE:
      return v1::PROPAGATION_HOST_TO_CONTAINER;
    case Propagation::SHARED:
      return v1::PROPAGATION_BIDIRECTIONAL;
  }
  return v1::PROPAGATION_PRIVATE;
}

// A mount is either of a path on the host or of an image.
void fillSource(supervisor::Mount::Builder builder, const v1::Mount& mount, const Field& field) {
  if (!mount.has_image()) {
    if (!mount.image_sub_path().empty()) {
      field["image_sub_path"].refuse("needs image, which is not set");
    }
    builder.setHostPath(absolutePath(mount.host_path(), field["host_path"]));
    return;
  }
  if (!mount.host_path().empty()) field["host_path"].refuse("must be empty with image");
  if (!mount.readonly()) field["readonly"].refuse("must be true: image volumes are read-only");
  builder.setImage(requiredText(mount.image().image(), field["image"]["image"]));
  auto subPath = requestText(mount.image_sub_path(), field["image_sub_path"]);
  if (climbs(subPath)) field["image_sub_path"].refuse("must not hold \"..\"");
  builder.setImageSubPath(subPath);
}

void fillMountOptions(TextsBuilder list, const StringList& options, const Field& field) {
  for (int i = 0; i < options.size(); ++i) {
    auto& option = options[i];
    if (option != "noexec" && option != "nodev" && option != "nosuid") {
      field.at(i).refuse("must be noexec, nodev or nosuid");
    }
    list.set(i, option);
  }
}

}  // namespace

void fillMount(supervisor::Mount::Builder builder, const v1::Mount& mount, const Field& field) {
  builder.setContainerPath(absolutePath(mount.container_path(), field["container_path"]));
  fillSource(builder, mount, field);
  builder.setReadonly(mount.readonly());
  builder.setSelinuxRelabel(mount.selinux_relabel());
  builder.setPropagation(propagationOf(mount.propagation(), field["propagation"]));
  if (mount.recursive_read_only()) {
    if (!mount.readonly()) field["recursive_read_only"].refuse("needs readonly as well");
    if (mount.propagation() != v1::PROPAGATION_PRIVATE) {
      field["recursive_read_only"].refuse("needs PROPAGATION_PRIVATE");
    }
  }
  builder.setRecursiveReadonly(mount.recursive_read_only());
  fillIdMappings(builder.initUidMappings(mount.uidmappings_size()), mount.uidmappings());
  fillIdMappings(builder.initGidMappings(mount.gidmappings_size()), mount.gidmappings());
  fillMountOptions(builder.initMountOptions(mount.mount_options_size()), mount.mount_options(),
                   field["mount_options"]);
}

void readMount(supervisor::Mount::Reader reader, v1::Mount& mount) {
  mount.set_container_path(replyText(reader.getContainerPath()));
  mount.set_host_path(replyText(reader.getHostPath()));
  mount.set_readonly(reader.getReadonly());
  mount.set_selinux_relabel(reader.getSelinuxRelabel());
  mount.set_propagation(propagationOf(reader.getPropagation()));
  mount.set_recursive_read_only(reader.getRecursiveReadonly());
  readIdMappings(reader.getUidMappings(), *mount.mutable_uidmappings());
  readIdMappings(reader.getGidMappings(), *mount.mutable_gidmappings());
  if (reader.getImage().size() > 0) {
    mount.mutable_image()->set_image(replyText(reader.getImage()));
    mount.set_image_sub_path(replyText(reader.getImageSubPath()));
  }
  readTexts(reader.getMountOptions(), *mount.mutable_mount_options());
}

void fillDevice(supervisor::Device::Builder builder, const v1::Device& device, const Field& field) {
  builder.setContainerPath(absolutePath(device.container_path(), field["container_path"]));
  builder.setHostPath(absolutePath(device.host_path(), field["host_path"]));
  auto permissions = requiredText(device.permissions(), field["permissions"]);
  for (char permission : permissions) {
    if (permission != 'r' && permission != 'w' && permission != 'm') {
      field["permissions"].refuse("must be of the letters r, w and m, not \"", permissions, "\"");
    }
  }
  builder.setPermissions(permissions);
}

}  // namespace belay::criapi
