// Text and maps between protobuf's types and Cap'n Proto's. Inbound text is checked, because a NUL
// would end it early in every system call; outbound text is made UTF-8, because a client's protobuf
// refuses a whole reply for one bad string.
#pragma once

#include <capnp/list.h>
#include <google/protobuf/map.h>
#include <google/protobuf/repeated_field.h>
#include <kj/string.h>

#include <string>

#include "criapi/field.h"
#include "supervisor/model.capnp.h"

namespace belay::criapi {

using StringMap = google::protobuf::Map<std::string, std::string>;
using StringList = google::protobuf::RepeatedPtrField<std::string>;
using PairsBuilder = capnp::List<supervisor::Pair>::Builder;
using PairsReader = capnp::List<supervisor::Pair>::Reader;
using TextsBuilder = capnp::List<capnp::Text>::Builder;
using TextsReader = capnp::List<capnp::Text>::Reader;

// A request's text, valid as long as the request. Refused if it holds a NUL byte.
capnp::Text::Reader requestText(const std::string& value, const Field& field);

// The same for a field that must not be empty.
capnp::Text::Reader requiredText(const std::string& value, const Field& field);

// A request's text that must be an absolute path.
capnp::Text::Reader absolutePath(const std::string& value, const Field& field);

// Whether one of the path's components is "..".
bool climbs(kj::StringPtr path);

// A reply's text: as it is, or with what is no UTF-8 replaced by U+FFFD.
std::string replyText(kj::StringPtr text);

// The request's map, sorted by key so that equal requests make equal records. `list` has the map's
// size.
void fillPairs(PairsBuilder list, const StringMap& map, const Field& field);
void fillTexts(TextsBuilder list, const StringList& strings, const Field& field);

// For replies.
void readPairs(PairsReader list, StringMap& map);
void readTexts(TextsReader list, StringList& strings);

}  // namespace belay::criapi
