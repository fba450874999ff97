// See image-builder.h.
#include "snapshot/pull/image-builder.h"

#include <kj/map.h>

#include "snapshot/pull/json.h"
#include "snapshot/pull/platform.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

void fill(capnp::List<capnp::Text>::Builder list, kj::ArrayPtr<const kj::String> texts) {
  for (size_t i = 0; i < texts.size(); ++i)
    list.set(i, texts[i]);
}

kj::Vector<kj::String> memberNames(const Json& object, const char* name) {
  kj::Vector<kj::String> names;
  for (const auto& [key, value] : objectMember(object, name).items()) {
    names.add(jsonText(Json(key), name));
  }
  return names;
}

// The configuration's "config" member: what containers are made of (OCI config.md, "Properties").
void fillConfig(ImageConfig::Builder config, const Json& document) {
  const Json& json = objectMember(document, "config");
  config.setUser(textMember(json, "User"));
  config.setWorkingDir(textMember(json, "WorkingDir"));
  config.setStopSignal(textMember(json, "StopSignal"));
  config.setOs(textMember(document, "os"));
  config.setArchitecture(textMember(document, "architecture"));
  auto env = textListMember(json, "Env");
  fill(config.initEnv(env.size()), env);
  auto entrypoint = textListMember(json, "Entrypoint");
  fill(config.initEntrypoint(entrypoint.size()), entrypoint);
  auto cmd = textListMember(json, "Cmd");
  fill(config.initCmd(cmd.size()), cmd);
  auto volumes = memberNames(json, "Volumes");
  fill(config.initVolumes(volumes.size()), volumes);

  const Json& labels = objectMember(json, "Labels");
  auto list = config.initLabels(labels.size());
  unsigned index = 0;
  for (const auto& [key, value] : labels.items()) {
    list[index].setKey(jsonText(Json(key), "Labels"));
    list[index++].setValue(value.is_null() ? kj::String() : jsonText(value, "Labels"));
  }
}

kj::Vector<Digest> diffIdsOf(const Json& document) {
  kj::Vector<Digest> diffIds;
  for (const kj::String& text : textListMember(objectMember(document, "rootfs"), "diff_ids")) {
    KJ_IF_MAYBE (digest, Digest::tryParse(text)) {
      diffIds.add(*digest);
    } else {
      failPull(FailureCode::INVALID, "the image configuration's diff id \"", oneLine(text, 100),
               "\" is no SHA-256 digest");
    }
  }
  return diffIds;
}

void fillLayers(Image::Builder image, const ImageManifest& manifest,
                kj::ArrayPtr<const Digest> diffIds) {
  auto layers = image.initLayers(manifest.layers.size());
  auto chain = chainIds(diffIds);
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const Descriptor& descriptor = manifest.layers[i];
    layers[i].setBlobDigest(descriptor.digest.text());
    layers[i].setDiffId(diffIds[i].text());
    layers[i].setChainId(chain[i].text());
    layers[i].setSizeBytes(descriptor.sizeBytes);
    layers[i].setMediaType(descriptor.mediaType);
  }
}

// Every blob once: an image may have the same layer several times.
void fillBlobs(Image::Builder image, const ImageParts& parts) {
  kj::Vector<const Digest*> blobs;
  kj::HashSet<kj::StringPtr> seen;
  uint64_t size = 0;
  auto add = [&](const Digest& digest, uint64_t bytes) {
    if (seen.contains(digest.text())) return;
    seen.insert(digest.text());
    blobs.add(&digest);
    size += bytes;
  };
  for (const Digest& document : parts.documents)
    add(document, 0);
  add(parts.manifest.config.digest, parts.manifest.config.sizeBytes);
  for (const Descriptor& layer : parts.manifest.layers)
    add(layer.digest, layer.sizeBytes);

  image.setSizeBytes(size);
  auto list = image.initBlobs(blobs.size());
  for (size_t i = 0; i < blobs.size(); ++i)
    list.set(i, blobs[i]->text());
}

}  // namespace

void buildImage(Image::Builder image, const ImageParts& parts, const Platform& machine) {
  Json document = parseJsonObject(parts.configJson, "the image configuration");
  Platform made{textMember(document, "os"), textMember(document, "architecture"),
                textMember(document, "variant")};
  // Old builders leave these out; such an image is taken at its word that it fits.
  if (made.os == "") made.os = kj::heapString(machine.os);
  if (made.architecture == "") made.architecture = kj::heapString(machine.architecture);
  if (!runsOn(made, machine)) {
    failPull(FailureCode::NOT_FOUND, "the image is for ", oneLine(platformName(made), 100),
             ", and this machine is ", platformName(machine));
  }
  auto diffIds = diffIdsOf(document);
  if (diffIds.size() != parts.manifest.layers.size()) {
    failPull(FailureCode::INVALID, "the image manifest has ", parts.manifest.layers.size(),
             " layers, its configuration ", diffIds.size());
  }
  image.setId(parts.manifest.config.digest.text());
  image.setManifestDigest(parts.manifestDigest.text());
  fill(image.initRepoTags(parts.repoTags.size()), parts.repoTags);
  fill(image.initRepoDigests(parts.repoDigests.size()), parts.repoDigests);
  fillLayers(image, parts.manifest, diffIds);
  fillConfig(image.initConfig(), document);
  image.setConfigJson(parts.configJson);
  fillBlobs(image, parts);
}

}  // namespace belay::snapshot
