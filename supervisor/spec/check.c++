// How the spec builder refuses, and what it takes for a path.
#include "supervisor/spec/check.h"

#include <kj/vector.h>
#include <linux/limits.h>

namespace belay::supervisor {

namespace {

enum class DotDot { APPLY, REFUSE };

kj::String normalise(kj::StringPtr field, kj::StringPtr path, DotDot dotDot) {
  requireNoNul(field, path);
  if (!path.startsWith("/")) refuse(field, "\"", path, "\" is not an absolute path");
  if (path.size() >= PATH_MAX) refuse(field, "the path is ", path.size(), " bytes long");

  kj::Vector<kj::ArrayPtr<const char>> kept;
  for (size_t begin = 1; begin < path.size();) {
    size_t end = begin;
    while (end < path.size() && path[end] != '/')
      ++end;
    auto part = path.slice(begin, end);
    begin = end + 1;
    if (part.size() == 0 || (part.size() == 1 && part[0] == '.')) continue;
    if (part.size() == 2 && part[0] == '.' && part[1] == '.') {
      if (dotDot == DotDot::REFUSE) refuse(field, "\"", path, "\" contains \"..\"");
      if (!kept.empty()) kept.removeLast();
      continue;
    }
    if (part.size() > NAME_MAX) refuse(field, "a name of ", part.size(), " bytes is in the path");
    kept.add(part);
  }
  return kept.empty() ? kj::str("/") : kj::str("/", kj::strArray(kept, "/"));
}

}  // namespace

void requireNoNul(kj::StringPtr field, kj::ArrayPtr<const char> text) {
  for (char c : text) {
    if (c == '\0') refuse(field, "contains a NUL byte");
  }
}

kj::String cleanPath(kj::StringPtr field, kj::StringPtr path) {
  return normalise(field, path, DotDot::APPLY);
}

kj::String strictPath(kj::StringPtr field, kj::StringPtr path) {
  return normalise(field, path, DotDot::REFUSE);
}

}  // namespace belay::supervisor
