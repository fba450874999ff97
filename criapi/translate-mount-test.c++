// Tests for mounts and devices.
#include "criapi/translate-mount.h"

#include <gtest/gtest.h>

#include <functional>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

const Field FIELD("m");

v1::Mount hostMount() {
  v1::Mount mount;
  mount.set_container_path("/data");
  mount.set_host_path("/srv/data");
  return mount;
}

supervisor::Owned<supervisor::Mount> kept(const v1::Mount& mount) {
  return supervisor::Owned<supervisor::Mount>::make(
      [&](auto builder) { fillMount(builder, mount, FIELD); });
}

std::string refusalWith(std::function<void(v1::Mount&)> change) {
  auto mount = hostMount();
  change(mount);
  return refusal([&]() { kept(mount); });
}

TEST(Mount, ComesBackAsItWasAsked) {
  auto mount = hostMount();
  mount.set_readonly(true);
  mount.set_recursive_read_only(true);
  mount.set_selinux_relabel(true);
  mount.add_mount_options("noexec");
  mount.add_uidmappings()->set_host_id(65536);
  mount.add_gidmappings()->set_length(5);
  v1::Mount back;
  readMount(kept(mount).get(), back);
  EXPECT_EQ(back.SerializeAsString(), mount.SerializeAsString());

  auto shared = hostMount();
  shared.set_propagation(v1::PROPAGATION_BIDIRECTIONAL);
  v1::Mount sharedBack;
  readMount(kept(shared).get(), sharedBack);
  EXPECT_EQ(sharedBack.SerializeAsString(), shared.SerializeAsString());
}

TEST(Mount, ImagesAreMountedReadOnlyAndHaveNoHostPath) {
  v1::Mount mount;
  mount.set_container_path("/data");
  mount.mutable_image()->set_image("sha256:1234");
  mount.set_image_sub_path("etc");
  mount.set_readonly(true);
  EXPECT_EQ(kept(mount).get().getImage(), "sha256:1234"_kj);
  EXPECT_EQ(kept(mount).get().getImageSubPath(), "etc"_kj);

  mount.set_readonly(false);
  EXPECT_EQ(refusal([&]() { kept(mount); }),
            "m.readonly: must be true: image volumes are read-only");
  mount.set_readonly(true);
  mount.set_image_sub_path("../etc");
  EXPECT_EQ(refusal([&]() { kept(mount); }), "m.image_sub_path: must not hold \"..\"");
  mount.set_host_path("/srv");
  EXPECT_EQ(refusal([&]() { kept(mount); }), "m.host_path: must be empty with image");
}

TEST(Mount, RefusalsNameFieldAndReason) {
  EXPECT_EQ(refusalWith([](auto& m) { m.clear_host_path(); }), "m.host_path: must not be empty");
  EXPECT_EQ(refusalWith([](auto& m) { m.set_host_path("srv"); }),
            "m.host_path: must be an absolute path, not \"srv\"");
  EXPECT_EQ(refusalWith([](auto& m) { m.clear_container_path(); }),
            "m.container_path: must not be empty");
  EXPECT_EQ(refusalWith([](auto& m) { m.set_image_sub_path("etc"); }),
            "m.image_sub_path: needs image, which is not set");
  EXPECT_EQ(refusalWith([](auto& m) { m.set_recursive_read_only(true); }),
            "m.recursive_read_only: needs readonly as well");
  EXPECT_EQ(refusalWith([](auto& m) {
              m.set_readonly(true);
              m.set_recursive_read_only(true);
              m.set_propagation(v1::PROPAGATION_HOST_TO_CONTAINER);
            }),
            "m.recursive_read_only: needs PROPAGATION_PRIVATE");
  EXPECT_EQ(refusalWith([](auto& m) { m.add_mount_options("suid"); }),
            "m.mount_options[0]: must be noexec, nodev or nosuid");
  EXPECT_EQ(refusalWith([](auto& m) { m.set_propagation(static_cast<v1::MountPropagation>(3)); }),
            "m.propagation: must be PROPAGATION_PRIVATE, _HOST_TO_CONTAINER or _BIDIRECTIONAL");
}

TEST(Device, PermissionsAreOfTheLettersRWM) {
  v1::Device device;
  device.set_container_path("/dev/fuse");
  device.set_host_path("/dev/fuse");
  device.set_permissions("rw");
  auto keep = [&]() {
    return supervisor::Owned<supervisor::Device>::make(
        [&](auto builder) { fillDevice(builder, device, FIELD); });
  };
  EXPECT_EQ(keep().get().getPermissions(), "rw"_kj);
  device.set_permissions("rx");
  EXPECT_EQ(refusal(keep), "m.permissions: must be of the letters r, w and m, not \"rx\"");
  device.clear_permissions();
  EXPECT_EQ(refusal(keep), "m.permissions: must not be empty");
}

}  // namespace
}  // namespace belay::criapi
