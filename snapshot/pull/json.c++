// See json.h.
#include "snapshot/pull/json.h"

#include <string.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

[[noreturn]] void failMember(const char* name, kj::StringPtr wanted) {
  failPull(FailureCode::INVALID, "its member \"", name, "\" is not ", wanted);
}

const Json* find(const Json& object, const char* name) {
  auto member = object.find(name);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

const Json& memberOr(const Json& object, const char* name, const Json& empty,
                     kj::StringPtr wanted) {
  const Json* member = find(object, name);
  if (member == nullptr) return empty;
  if (member->type() != empty.type()) failMember(name, wanted);
  return *member;
}

}  // namespace

Json parseJsonObject(kj::ArrayPtr<const kj::byte> text, kj::StringPtr what) {
  bool tooDeep = false;
  auto watchDepth = [&](int depth, Json::parse_event_t, Json&) {
    tooDeep |= depth > MAX_JSON_DEPTH;
    return !tooDeep;  // false: the parser keeps nothing of what follows
  };
  constexpr bool THROW = false;
  Json document = Json::parse(text.begin(), text.end(), watchDepth, THROW);
  if (tooDeep) failPull(FailureCode::INVALID, what, " is nested too deeply");
  if (!document.is_object()) failPull(FailureCode::INVALID, what, " is no JSON object");
  return document;
}

kj::String jsonText(const Json& value, const char* name) {
  if (!value.is_string()) failMember(name, "text");
  const auto& text = value.get_ref<const std::string&>();
  if (memchr(text.data(), 0, text.size())) failMember(name, "text without NUL");
  return kj::heapString(text.data(), text.size());
}

kj::String textMember(const Json& object, const char* name) {
  const Json* member = find(object, name);
  return member == nullptr ? kj::String() : jsonText(*member, name);
}

uint64_t countMember(const Json& object, const char* name) {
  const Json* member = find(object, name);
  if (member == nullptr) return 0;
  if (!member->is_number_unsigned()) failMember(name, "a count");
  return member->get<uint64_t>();
}

kj::Vector<kj::String> textListMember(const Json& object, const char* name) {
  kj::Vector<kj::String> list;
  for (const Json& element : listMember(object, name))
    list.add(jsonText(element, name));
  return list;
}

const Json& objectMember(const Json& object, const char* name) {
  static const Json EMPTY = Json::object();
  return memberOr(object, name, EMPTY, "an object");
}

const Json& listMember(const Json& object, const char* name) {
  static const Json EMPTY = Json::array();
  return memberOr(object, name, EMPTY, "a list");
}

}  // namespace belay::snapshot
