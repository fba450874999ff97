// Images: names and credentials in requests, and stored images as the CRI reports them.
#include "criapi/translate-image.h"

#include "criapi/text.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

kj::String credential(const std::string& value, const Field& field) {
  for (unsigned char c : value) {
    if (c < 0x20 || c == 0x7f) field.refuse("must not hold control characters");
  }
  return kj::heapString(value.data(), value.size());
}

// As the shim reads it: decimal digits alone. The kubelet trusts the uid (runAsNonRoot), so "0x10"
// or
// "+1", which the shim looks up as a name, must be none.
kj::Maybe<uint32_t> uidOf(kj::StringPtr text) {
  constexpr uint64_t MAX_ID = 0xfffffffe;
  if (text.size() > 10) return nullptr;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return nullptr;
    value = value * 10 + (c - '0');
  }
  if (value > MAX_ID) return nullptr;
  return uint32_t(value);
}

// An image's user is "user[:group]"; a number is reported as uid, a name as username, and an image
// without one as neither (which is root).
void readUser(kj::StringPtr user, v1::Image& image) {
  kj::String name;
  KJ_IF_MAYBE (colon, user.findFirst(':')) {
    name = kj::heapString(user.slice(0, *colon));
  } else {
    name = kj::str(user);
  }
  if (name.size() == 0) return;
  KJ_IF_MAYBE (uid, uidOf(name)) {
    image.mutable_uid()->set_value(*uid);
  } else {
    image.set_username(replyText(name));
  }
}

}  // namespace

kj::String imageReferenceOf(const v1::ImageSpec& spec, const Field& field) {
  return kj::str(requiredText(spec.image(), field["image"]));
}

supervisor::PullCredentials credentialsOf(const v1::AuthConfig& auth, const Field& field) {
  return {
      .username = credential(auth.username(), field["username"]),
      .password = credential(auth.password(), field["password"]),
      .auth = credential(auth.auth(), field["auth"]),
      .serverAddress = credential(auth.server_address(), field["server_address"]),
      .identityToken = credential(auth.identity_token(), field["identity_token"]),
      .registryToken = credential(auth.registry_token(), field["registry_token"]),
  };
}

void readImage(snapshot::Image::Reader reader, v1::Image& image) {
  image.set_id(replyText(reader.getId()));
  readTexts(reader.getRepoTags(), *image.mutable_repo_tags());
  readTexts(reader.getRepoDigests(), *image.mutable_repo_digests());
  image.set_size(reader.getSizeBytes());
  readUser(reader.getConfig().getUser(), image);
  image.set_pinned(reader.getPinned());
}

}  // namespace belay::criapi
