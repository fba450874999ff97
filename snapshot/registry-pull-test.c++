// The whole way of an image with nothing faked: docker-registry on loopback, belay-pull, the store.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <zlib.h>

#include "snapshot/puller.h"
#include "snapshot/testing/store-fixture.h"
#include "snapshot/testing/test-image.h"

namespace belay::snapshot {
namespace {

constexpr kj::StringPtr REGISTRY_PROGRAM = "/usr/bin/docker-registry"_kj;
constexpr kj::StringPtr MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"_kj;
constexpr kj::StringPtr INDEX_TYPE = "application/vnd.oci.image.index.v1+json"_kj;
constexpr kj::StringPtr CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"_kj;
constexpr kj::StringPtr GZIP_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"_kj;

struct Blob {
  Digest digest;
  kj::Array<kj::byte> bytes;

  explicit Blob(kj::Array<kj::byte> content)
      : digest(Digest::of(content)), bytes(kj::mv(content)) {}
  explicit Blob(kj::StringPtr text) : Blob(kj::heapArray(text.asBytes())) {}

  kj::String descriptor(kj::StringPtr mediaType, kj::StringPtr more = nullptr) const {
    return kj::str("{\"mediaType\":\"", mediaType, "\",\"digest\":\"", digest,
                   "\",\"size\":", bytes.size(), more, "}");
  }
};

kj::Array<kj::byte> gzip(kj::ArrayPtr<const kj::byte> bytes) {
  z_stream stream = {};
  KJ_ASSERT(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  auto out = kj::heapArray<kj::byte>(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<kj::byte*>(bytes.begin());
  stream.avail_in = bytes.size();
  stream.next_out = out.begin();
  stream.avail_out = out.size();
  KJ_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  deflateEnd(&stream);
  return kj::heapArray(out.slice(0, stream.total_out));
}

kj::Array<kj::byte> layerTar(kj::StringPtr name) {
  TestTar tar;
  tar.folder("etc/");
  tar.file(kj::str("etc/", name), kj::str(kj::repeat('a', 50'000)));
  return tar.finish();
}

// Two gzip layers, a configuration, a manifest, and an index with a decoy for another machine.
struct RealImage {
  kj::Array<kj::byte> baseTar = layerTar("base");
  kj::Array<kj::byte> topTar = layerTar("top");
  Blob base{gzip(baseTar)};
  Blob top{gzip(topTar)};
  Blob config{kj::str(
      "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/sh\",\"-l\"],"
      "\"Env\":[\"A=b\"],\"User\":\"1000\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"",
      Digest::of(baseTar), "\",\"", Digest::of(topTar), "\"]}}")};
  Blob manifest{kj::str("{\"schemaVersion\":2,\"mediaType\":\"", MANIFEST_TYPE,
                        "\",\"config\":", config.descriptor(CONFIG_TYPE), ",\"layers\":[",
                        base.descriptor(GZIP_LAYER_TYPE), ",", top.descriptor(GZIP_LAYER_TYPE),
                        "]}")};
  Blob index{
      kj::str("{\"schemaVersion\":2,\"mediaType\":\"", INDEX_TYPE, "\",\"manifests\":[",
              Blob("{}"_kj).descriptor(
                  MANIFEST_TYPE, ",\"platform\":{\"architecture\":\"s390x\",\"os\":\"linux\"}"),
              ",",
              manifest.descriptor(MANIFEST_TYPE,
                                  ",\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}"),
              "]}")};

  kj::Array<const Blob*> all() const { return kj::arr(&base, &top, &config, &manifest, &index); }
};

struct RegistryPullTest : public StoreFixture {
  ~RegistryPullTest() noexcept override {}

  void SetUp() override {
    BELAY_REQUIRE_ROOT();
    openStore();
    PullerOptions options;
    options.registryConfigFolders = kj::arr(kj::str(folder.path(), "/certs.d"));
    puller = kj::heap<Puller>(*store, helpers, kj::mv(options));
    if (access(REGISTRY_PROGRAM.cStr(), X_OK) != 0) GTEST_SKIP() << "needs docker-registry";
    publish();
    startRegistry();
  }

  void TearDown() override {
    registry = nullptr;
    puller = nullptr;
    StoreFixture::TearDown();
  }

  // Lays the image into the registry's own file layout, as if it had been pushed.
  void publish() {
    for (const Blob* blob : image.all()) {
      write(blobPath(*blob), kj::heapString(blob->bytes.asChars()));
      link(kj::str("_layers/sha256/", blob->digest.hex()), *blob);
    }
    for (const Blob* manifest : {&image.manifest, &image.index}) {
      link(kj::str("_manifests/revisions/sha256/", manifest->digest.hex()), *manifest);
    }
    link("_manifests/tags/v1/current", image.index);
    link(kj::str("_manifests/tags/v1/index/sha256/", image.index.digest.hex()), image.index);
  }

  kj::String registryPath(kj::StringPtr path) {
    return kj::str(folder.path(), "/registry/docker/registry/v2/", path);
  }
  kj::String blobPath(const Blob& blob) {
    auto hex = blob.digest.hex();
    return registryPath(kj::str("blobs/sha256/", hex.slice(0, 2), "/", hex, "/data"));
  }
  void link(kj::StringPtr place, const Blob& blob) {
    write(registryPath(kj::str("repositories/team/app/", place, "/link")), blob.digest.text());
  }
  void write(kj::StringPtr path, kj::StringPtr contents) {
    size_t slash = KJ_ASSERT_NONNULL(path.findLast('/'));
    auto parent = makeFolders(kj::heapString(path.slice(0, slash)), 0755);
    writeNewFile(parent, path.slice(slash + 1), contents, 0644);
  }

  static kj::uint freePort() {
    int number;
    KJ_SYSCALL(number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    kj::AutoCloseFd listener(number);
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    KJ_SYSCALL(bind(listener, reinterpret_cast<sockaddr*>(&address), size));
    KJ_SYSCALL(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size));
    return ntohs(address.sin_port);
  }

  void startRegistry() {
    port = freePort();
    auto configPath = kj::str(folder.path(), "/registry.yml");
    write(configPath, kj::str("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ",
                              folder.path(), "/registry\nhttp:\n  addr: 127.0.0.1:", port, "\n"));
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    kj::AutoCloseFd readEnd(ends[0]);
    kj::AutoCloseFd writeEnd(ends[1]);
    Command command;
    command.path = kj::str(REGISTRY_PROGRAM);
    command.argv = kj::arr(kj::str("docker-registry"), kj::str("serve"), kj::mv(configPath));
    command.descriptors.add(Command::Descriptor{2, writeEnd.get()});
    registry = children.spawn(command, Child::OnDrop::KILL);
    writeEnd = nullptr;
    log = io.lowLevelProvider->wrapInputFd(kj::mv(readEnd));
    kj::Vector<char> text;
    while (!has(kj::str(text), "listening on")) {
      char piece[1024];
      size_t size = log->tryRead(piece, 1, sizeof(piece)).wait(io.waitScope);
      KJ_ASSERT(size > 0, "docker-registry ended", text);
      text.addAll(kj::arrayPtr(piece, size));
    }
  }

  kj::Promise<kj::Own<PulledImage>> pull(kj::StringPtr name) {
    return puller->pull(kj::str("127.0.0.1:", port, '/', name), RegistryCredentials{});
  }

  void expectTheImage(Image::Reader told) {
    EXPECT_EQ(told.getId(), image.config.digest.text());
    EXPECT_EQ(told.getManifestDigest(), image.manifest.digest.text());
    EXPECT_EQ(told.getConfig().getUser(), "1000");
    ASSERT_EQ(told.getConfig().getCmd().size(), 2);
    EXPECT_EQ(told.getConfig().getCmd()[1], "-l");
    auto chain = chainIds(kj::arr(Digest::of(image.baseTar), Digest::of(image.topTar)));
    KJ_IF_MAYBE (top, store->openLayer(chain[1])) {
      EXPECT_EQ(KJ_ASSERT_NONNULL(tryReadFile(*top, "etc/top", 60'000)).size(), 50'000);
    } else {
      ADD_FAILURE() << "no layer";
    }
    EXPECT_TRUE(store->hasLayer(chain[0]));
    EXPECT_EQ(count("ingest") + count("staging"), 0);
  }

  RealImage image;
  kj::Own<Puller> puller;
  kj::Own<Child> registry;
  kj::Own<kj::AsyncInputStream> log;
  kj::uint port = 0;
};

TEST_F(RegistryPullTest, PullsByTagThroughTheIndex) {
  auto pulled = wait(pull("team/app:v1"));
  auto told = pulled->image();
  expectTheImage(told);
  ASSERT_EQ(told.getRepoTags().size(), 1);
  EXPECT_EQ(told.getRepoTags()[0], kj::str("127.0.0.1:", port, "/team/app:v1"));
  ASSERT_EQ(told.getRepoDigests().size(), 1);
  EXPECT_EQ(told.getRepoDigests()[0],
            kj::str("127.0.0.1:", port, "/team/app@", image.index.digest));
  EXPECT_EQ(told.getBlobs().size(), 5);
}

TEST_F(RegistryPullTest, PullsByDigest) {
  auto pulled = wait(pull(kj::str("team/app@", image.manifest.digest)));
  expectTheImage(pulled->image());
  EXPECT_EQ(pulled->image().getRepoTags().size(), 0);
}

TEST_F(RegistryPullTest, ASecondPullNeedsTheManifestsAlone) {
  wait(pull("team/app:v1"));
  // The registry's layers are gone; the store has them.
  for (const Blob* blob : {&image.base, &image.top})
    unlink(blobPath(*blob).cStr());
  expectTheImage(wait(pull("team/app:v1"))->image());
}

TEST_F(RegistryPullTest, ResumesAfterWhatIsThere) {
  {
    auto ingest = wait(store->openIngest(image.top.digest));
    kj::FdOutputStream(ingest.file.get()).write(image.top.bytes.begin(), 20);
  }
  expectTheImage(wait(pull("team/app:v1"))->image());
}

TEST_F(RegistryPullTest, AFalseBeginningIsFoundOut) {
  {
    auto ingest = wait(store->openIngest(image.top.digest));
    kj::FdOutputStream(ingest.file.get()).write("not these bytes", 15);
  }
  EXPECT_EQ(codeOf(failureOf(pull("team/app:v1"))), Code::FAILED_PRECONDITION);
  expectTheImage(wait(pull("team/app:v1"))->image());
}

TEST_F(RegistryPullTest, AChangedBlobIsRefusedWithBothDigests) {
  auto path = blobPath(image.top);
  auto changed = kj::heapString(image.top.bytes.asChars());
  changed[30] ^= 1;
  unlink(path.cStr());
  write(path, changed);
  auto failure = failureOf(pull("team/app:v1"));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION) << failure.getDescription().cStr();
  EXPECT_TRUE(has(messageOf(failure), image.top.digest.text()));
  EXPECT_TRUE(has(messageOf(failure), Digest::of(changed.asBytes()).text()));
  EXPECT_EQ(count("staging") + count("layers"), 0);
  EXPECT_NE(access(kj::str(storePath(), "/ingest/", image.top.digest.hex()).cStr(), F_OK), 0);
  EXPECT_FALSE(store->hasBlob(image.top.digest));
}

TEST_F(RegistryPullTest, WhatIsNotThereIsNotFound) {
  auto failure = failureOf(pull("team/app:v2"));
  EXPECT_EQ(codeOf(failure), Code::NOT_FOUND) << failure.getDescription().cStr();
  EXPECT_EQ(codeOf(failureOf(pull("team/other:v1"))), Code::NOT_FOUND);
}

TEST_F(RegistryPullTest, ADeadRegistryIsUnavailable) {
  registry = nullptr;
  children.whenDroppedAreReaped().wait(io.waitScope);
  auto failure = failureOf(pull("team/app:v1"));
  EXPECT_EQ(codeOf(failure), Code::UNAVAILABLE) << failure.getDescription().cStr();
}

TEST_F(RegistryPullTest, MirrorsAreTriedInOrder) {
  write(kj::str(folder.path(), "/certs.d/registry.example/hosts.toml"),
        kj::str("server = \"http://127.0.0.1:1\"\n"
                "[host.\"http://127.0.0.1:2\"]\n"
                "[host.\"http://127.0.0.1:",
                port, "\"]\n"));
  auto pulled = wait(puller->pull(kj::str("registry.example/team/app:v1"), RegistryCredentials{}));
  expectTheImage(pulled->image());
  EXPECT_EQ(pulled->image().getRepoTags()[0], "registry.example/team/app:v1");
}

TEST_F(RegistryPullTest, ImportsAnArchive) {
  TestTar tar;
  tar.file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  tar.file("index.json",
           kj::str("{\"schemaVersion\":2,\"manifests\":[",
                   image.manifest.descriptor(MANIFEST_TYPE,
                                             ",\"annotations\":{\"io.containerd.image.name\":"
                                             "\"registry.example/team/app:v3\"}"),
                   "]}"));
  for (const Blob* blob : image.all()) {
    tar.file(kj::str("blobs/sha256/", blob->digest.hex()), kj::heapString(blob->bytes.asChars()));
  }
  auto path = kj::str(folder.path(), "/archive.tar");
  write(path, kj::heapString(tar.finish().asChars()));
  auto pulled = wait(puller->importArchive(openAt(AT_FDCWD, path, O_RDONLY), kj::String(nullptr)));
  expectTheImage(pulled->image());
  ASSERT_EQ(pulled->image().getRepoTags().size(), 1);
  EXPECT_EQ(pulled->image().getRepoTags()[0], "registry.example/team/app:v3");
}

TEST_F(RegistryPullTest, AnArchiveThatIsNoneIsRefused) {
  auto path = kj::str(folder.path(), "/archive.tar");
  write(path, "no archive");
  auto failure =
      failureOf(puller->importArchive(openAt(AT_FDCWD, path, O_RDONLY), kj::String(nullptr)));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION) << failure.getDescription().cStr();
}

}  // namespace
}  // namespace belay::snapshot
