// Names in a layer's tar, before they come near a file system: one spelling for each path, and what
// a name says about layers below (whiteouts, OCI image-spec layer.md).
#pragma once

#include <kj/string.h>

namespace belay::snapshot {

// The path without leading and doubled slashes and "." components; "" for the layer's root. Throws
// a pull error INVALID when a component is ".." or too long for a file system (255 bytes), or the
// whole is (4095).
kj::String normalLayerPath(kj::StringPtr path);

// The two halves of a normal path: "a/b/c" is "a/b" and "c", "c" is "" and "c".
struct SplitPath {
  kj::String folder;
  kj::StringPtr name;  // points into the path that was split
};
SplitPath splitLayerPath(kj::StringPtr normalPath);

enum class WhiteoutKind {
  NONE,     // an ordinary name
  NAME,     // ".wh.NAME": the lower layers' NAME is hidden
  OPAQUE,   // ".wh..wh..opq": nothing of the lower layers' folder shows
  IGNORED,  // other ".wh..wh." names: aufs kept its own books there, they are no part of the image
};

struct Whiteout {
  WhiteoutKind kind;
  kj::StringPtr hidden;  // for NAME
};

// What the last component of a path means. Throws INVALID for a whiteout of nothing, "." or "..".
Whiteout classifyName(kj::StringPtr name);

}  // namespace belay::snapshot
