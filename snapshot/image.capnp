# What is known of an image once it is in the store: made by belay-pull from the registry's JSON, kept
# by the supervisor in its database, used to make containers. No process that holds privileges ever
# parses the JSON itself.

@0xfb475fd511f1a2e5;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::snapshot");

struct Layer {
  blobDigest @0 :Text;
  # "sha256:" and 64 hex digits, of the compressed blob.

  diffId @1 :Text;
  # Digest of the uncompressed tar, from the image configuration's rootfs.diff_ids.

  chainId @2 :Text;
  # The OCI chain id of this layer upon those below it: the key of its folder in the store.

  sizeBytes @3 :UInt64;
  # Of the blob.

  mediaType @4 :Text;
}

struct ImageConfig {
  # The part of the OCI image configuration that containers are made of
  # (OCI image-spec, config.md; Docker adds healthcheck and onbuild, which Kubernetes ignores).

  user @0 :Text;
  env @1 :List(Text);
  # "NAME=value" each.

  entrypoint @2 :List(Text);
  cmd @3 :List(Text);
  workingDir @4 :Text;
  volumes @5 :List(Text);
  stopSignal @6 :Text;
  labels @7 :List(Label);
  architecture @8 :Text;
  os @9 :Text;

  struct Label {
    key @0 :Text;
    value @1 :Text;
  }
}

struct Image {
  id @0 :Text;
  # Digest of the configuration blob: Image.id, image_ref and image_id of the CRI.

  repoTags @1 :List(Text);
  # Familiar-free, fully qualified: "docker.io/library/busybox:latest".

  repoDigests @2 :List(Text);
  # "docker.io/library/busybox@sha256:..."

  manifestDigest @3 :Text;
  # Of the platform's manifest.

  sizeBytes @4 :UInt64;
  # Sum of the blobs: configuration and layers.

  layers @5 :List(Layer);
  # Bottom first.

  config @6 :ImageConfig;

  configJson @7 :Data;
  # The configuration blob as it came, for verbose status only; never parsed again.

  blobs @8 :List(Text);
  # Every blob this image needs in the store: index, manifest, configuration, layers.

  pinned @9 :Bool;
}
