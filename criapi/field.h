// The name of a field in a request, as a person would write it ("config.mounts[2].host_path"), and
// how a request is refused because of it. Costs nothing until something is refused.
#pragma once

#include <kj/string.h>

#include "snapshot/failure.h"

namespace belay::criapi {

// A link of the path from a request's top to a field. Refers to its parent, which therefore
// outlives it: fields are passed down as arguments and never kept.
class Field {
 public:
  constexpr explicit Field(const char* name) : name(name) {}

  // The field of that name in this message.
  constexpr Field operator[](const char* child) const { return Field(this, child, NO_INDEX); }

  // This repeated field's item.
  constexpr Field at(size_t index) const { return Field(this, nullptr, index); }

  kj::String path() const {
    if (parent == nullptr) return kj::str(name);
    if (index != NO_INDEX) return kj::str(parent->path(), '[', index, ']');
    return kj::str(parent->path(), '.', name);
  }

  // Throws INVALID_ARGUMENT "path: reason".
  template <typename... Parts>
  [[noreturn]] void refuse(Parts&&... reason) const {
    snapshot::fail(snapshot::Code::INVALID_ARGUMENT, path(), ": ", kj::fwd<Parts>(reason)...);
  }

 private:
  static constexpr size_t NO_INDEX = static_cast<size_t>(-1);

  constexpr Field(const Field* parent, const char* name, size_t index)
      : parent(parent), name(name), index(index) {}

  const Field* parent = nullptr;
  const char* name;
  size_t index = NO_INDEX;
};

}  // namespace belay::criapi
