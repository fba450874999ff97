// What the tests of the store and of what stands on it share: an event loop, belay-pull, a store in
// a fresh folder.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "snapshot/helpers.h"
#include "snapshot/store.h"
#include "snapshot/sys/child.h"
#include "snapshot/sys/file.h"
#include "snapshot/testing/temporary-folder.h"

// Unpacking makes files of any owner and device nodes.
#define BELAY_REQUIRE_ROOT() \
  if (geteuid() != 0) GTEST_SKIP() << "needs root: layers have foreign owners and devices"

namespace belay::snapshot {

// A program in Bazel's runfiles, absolute.
inline kj::String programPath(kj::StringPtr inTree) {
  char* path = realpath(inTree.cStr(), nullptr);
  KJ_REQUIRE(path != nullptr, "not among the test's data", inTree);
  KJ_DEFER(free(path));
  return kj::str(path);
}

class StoreFixture : public ::testing::Test {
 public:
  explicit StoreFixture(kj::StringPtr program)
      : helpers(children, *io.lowLevelProvider, programPath(program)) {}
  StoreFixture() : StoreFixture("snapshot/pull/belay-pull") {}

  ~StoreFixture() noexcept override {}

  void TearDown() override {
    if (store.get() != nullptr) store->whenTrashIsEmpty().wait(io.waitScope);
    store = nullptr;
    children.whenDroppedAreReaped().wait(io.waitScope);
    // Every process was reaped.
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  }

  // Opens the store, as a new belayd would.
  Store& openStore() {
    store = nullptr;
    store = kj::heap<Store>(storePath(), helpers);
    return *store;
  }
  kj::String storePath() { return kj::str(folder.path(), "/store"); }

  // How many entries there are in one of the store's folders.
  size_t count(kj::StringPtr inStore) {
    return namesIn(openAt(AT_FDCWD, kj::str(storePath(), '/', inStore), O_RDONLY | O_DIRECTORY))
        .size();
  }

  template <typename T>
  T wait(kj::Promise<T> promise) {
    return promise.wait(io.waitScope);
  }

  // The failure of a promise that must fail.
  template <typename T>
  kj::Exception failureOf(kj::Promise<T> promise) {
    try {
      promise.wait(io.waitScope);
    } catch (const kj::Exception& exception) {
      return kj::cp(exception);
    }
    return kj::Exception(kj::Exception::Type::FAILED, "", 0, kj::str("it did not fail"));
  }

  // Puts a blob into the store through a download, as belay-pull does.
  Digest putBlob(kj::ArrayPtr<const kj::byte> bytes) {
    auto digest = Digest::of(bytes);
    {
      auto ingest = wait(store->openIngest(digest));
      kj::FdOutputStream(ingest.file.get()).write(bytes.begin(), bytes.size());
    }
    wait(store->commitBlob(digest, bytes.size()));
    return digest;
  }

  TemporaryFolder folder;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  Children children{io.unixEventPort};
  Helpers helpers;
  kj::Own<Store> store;
};

// Whether `text` has `part`.
inline bool has(kj::StringPtr text, kj::StringPtr part) {
  return strstr(text.cStr(), part.cStr()) != nullptr;
}

}  // namespace belay::snapshot
