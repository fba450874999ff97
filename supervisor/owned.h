// A Cap'n Proto struct together with the memory it lives in: how records, configurations and states
// are kept, passed between coroutines and stored.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/refcount.h>

namespace belay::supervisor {

// An immutable struct of schema type T. Copies share the memory (single-threaded reference count),
// so passing one by value into a coroutine is cheap and safe. Changing a record means building a
// new one.
template <typename T>
class Owned {
 public:
  // Deep-copies what the reader sees.
  explicit Owned(typename T::Reader reader)
      : Owned(build([&](auto& message) { message.setRoot(reader); })) {}

  // Builds by `fill(typename T::Builder)`.
  template <typename Fill>
  static Owned make(Fill&& fill) {
    return build([&](auto& message) { fill(message.template initRoot<T>()); });
  }

  // A changed copy: `change(typename T::Builder)` sees the present contents.
  template <typename Change>
  Owned with(Change&& change) const {
    return build([&](auto& message) {
      message.setRoot(get());
      change(message.template getRoot<T>());
    });
  }

  // From bytes that `bytes()` gave, such as a database's; throws on what is no such message.
  static Owned fromBytes(kj::ArrayPtr<const kj::byte> bytes) {
    auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    KJ_REQUIRE(words.size() * sizeof(capnp::word) == bytes.size(), "record is not whole words");
    memcpy(words.begin(), bytes.begin(), bytes.size());
    return Owned(kj::refcounted<Storage>(kj::mv(words)));
  }

  Owned(const Owned& other) : storage(kj::addRef(*other.storage)) {}
  Owned(Owned&&) = default;
  Owned& operator=(const Owned& other) {
    storage = kj::addRef(*other.storage);
    return *this;
  }
  Owned& operator=(Owned&&) = default;

  // Valid as long as any copy of this object lives.
  typename T::Reader get() const { return storage->reader; }
  kj::ArrayPtr<const kj::byte> bytes() const { return storage->words.asBytes(); }

 private:
  struct Storage : public kj::Refcounted {
    explicit Storage(kj::Array<capnp::word> array)
        : words(kj::mv(array)),
          message(words, {.traversalLimitInWords = kj::maxValue, .nestingLimit = 64}),
          reader(message.getRoot<T>()) {}
    kj::Array<capnp::word> words;
    capnp::FlatArrayMessageReader message;
    typename T::Reader reader;
  };

  explicit Owned(kj::Own<Storage> storage) : storage(kj::mv(storage)) {}

  template <typename Fill>
  static Owned build(Fill&& fill) {
    capnp::MallocMessageBuilder message;
    fill(message);
    return Owned(kj::refcounted<Storage>(capnp::messageToFlatArray(message)));
  }

  mutable kj::Own<Storage> storage;
};

}  // namespace belay::supervisor
