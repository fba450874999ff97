// CNI network configuration lists (CNI specification 1.1.0, section 1), read from a folder or from
// what was recorded of one.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include <nlohmann/json.hpp>

namespace belay::supervisor {

struct NetworkList {
  kj::String name;
  kj::String version;  // the newest cniVersion that the list and belay both know
  bool disableCheck;
  kj::Array<kj::String> types;  // of the plug-ins, in the order of ADD
  nlohmann::json plugins;       // array of their objects, as written
  kj::String text;              // JSON of the whole, for parseNetworkList() on a later day

  // versionAtLeast(1, 1): does this list's version know STATUS?
  bool versionAtLeast(int major, int minor) const;
};

// A list (.conflist) or a single plug-in's configuration (.conf, .json), which is a list of one.
// FAILED_PRECONDITION with what is wrong.
NetworkList parseNetworkList(kj::StringPtr text);

// The first file of the folder by name (bytes) that ends in .conflist, .conf or .json, with the
// plug-ins of the folder FOLDER/NAME appended unless the list says loadOnlyInlinedPlugins.
// FAILED_PRECONDITION with folder, file and reason when there is none or it is not good.
NetworkList loadNetworkList(kj::StringPtr folder);

}  // namespace belay::supervisor
