// See layer-path.h.
#include "snapshot/pull/layer-path.h"

#include <kj/vector.h>
#include <limits.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr kj::StringPtr WHITEOUT_PREFIX = ".wh."_kj;
constexpr kj::StringPtr META_PREFIX = ".wh..wh."_kj;
constexpr kj::StringPtr OPAQUE_NAME = ".wh..wh..opq"_kj;

void appendComponent(kj::Vector<char>& normal, kj::ArrayPtr<const char> component) {
  if (component.size() == 0 || (component.size() == 1 && component[0] == '.')) return;
  if (component.size() == 2 && component[0] == '.' && component[1] == '.') {
    failPull(FailureCode::INVALID, "a path in the layer goes up by \"..\"");
  }
  if (component.size() > NAME_MAX) {
    failPull(FailureCode::INVALID, "a name in the layer is longer than ", NAME_MAX, " bytes");
  }
  if (normal.size() > 0) normal.add('/');
  normal.addAll(component);
}

}  // namespace

kj::String normalLayerPath(kj::StringPtr path) {
  kj::Vector<char> normal(path.size());
  size_t begin = 0;
  for (size_t i = 0; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/') continue;
    appendComponent(normal, path.slice(begin, i));
    begin = i + 1;
  }
  if (normal.size() >= PATH_MAX) {
    failPull(FailureCode::INVALID, "a path in the layer is longer than ", PATH_MAX - 1, " bytes");
  }
  return kj::heapString(normal.asPtr());
}

SplitPath splitLayerPath(kj::StringPtr path) {
  KJ_IF_MAYBE (slash, path.findLast('/')) {
    return {kj::heapString(path.slice(0, *slash)), path.slice(*slash + 1)};
  }
  return {kj::heapString(""), path};
}

Whiteout classifyName(kj::StringPtr name) {
  if (!name.startsWith(WHITEOUT_PREFIX)) return {WhiteoutKind::NONE, nullptr};
  if (name == OPAQUE_NAME) return {WhiteoutKind::OPAQUE, nullptr};
  if (name.startsWith(META_PREFIX)) return {WhiteoutKind::IGNORED, nullptr};
  kj::StringPtr hidden = name.slice(WHITEOUT_PREFIX.size());
  if (hidden == "" || hidden == "." || hidden == "..") {
    failPull(FailureCode::INVALID, "the layer has a whiteout of \"", hidden, "\"");
  }
  return {WhiteoutKind::NAME, hidden};
}

}  // namespace belay::snapshot
