// Strangers' JSON: nlohmann's parser with bounds, and readers that say which member is wrong.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <stdint.h>

#include <nlohmann/json.hpp>

namespace belay::snapshot {

using Json = nlohmann::json;

// Deeper than any manifest or image configuration, and shallow enough for any code that recurses.
constexpr int MAX_JSON_DEPTH = 32;

// Parses an object; `what` names the document in error sentences. The caller bounds the size.
// Throws a pull error INVALID when the text is no JSON, too deep, or no object.
Json parseJsonObject(kj::ArrayPtr<const kj::byte> text, kj::StringPtr what);

// Members of an object. Absent and null members give the empty value; a member of another type, and
// text with a NUL in it (which would be cut short further on), throw INVALID.
kj::String textMember(const Json& object, const char* name);
uint64_t countMember(const Json& object, const char* name);
kj::Vector<kj::String> textListMember(const Json& object, const char* name);

// The member if it is an object (a list), else an empty one.
const Json& objectMember(const Json& object, const char* name);
const Json& listMember(const Json& object, const char* name);

// One element, as textMember reads it.
kj::String jsonText(const Json& value, const char* name);

}  // namespace belay::snapshot
