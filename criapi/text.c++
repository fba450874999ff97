// Text and maps between protobuf's types and Cap'n Proto's.
#include "criapi/text.h"

#include <algorithm>

#include "criapi/grpc/utf8.h"

namespace belay::criapi {

capnp::Text::Reader requestText(const std::string& value, const Field& field) {
  if (value.find('\0') != std::string::npos) field.refuse("must not hold a NUL byte");
  return capnp::Text::Reader(value.c_str(), value.size());
}

capnp::Text::Reader requiredText(const std::string& value, const Field& field) {
  if (value.empty()) field.refuse("must not be empty");
  return requestText(value, field);
}

capnp::Text::Reader absolutePath(const std::string& value, const Field& field) {
  auto text = requiredText(value, field);
  if (!text.startsWith("/")) field.refuse("must be an absolute path, not \"", text, "\"");
  return text;
}

bool climbs(kj::StringPtr path) {
  auto framed = kj::str('/', path, '/');
  return strstr(framed.cStr(), "/../") != nullptr;
}

std::string replyText(kj::StringPtr text) {
  if (grpc::isUtf8(text.asArray())) return std::string(text.begin(), text.size());
  auto sanitized = grpc::sanitizeUtf8(text.asArray());
  return std::string(sanitized.begin(), sanitized.size());
}

void fillPairs(PairsBuilder list, const StringMap& map, const Field& field) {
  auto entries = KJ_MAP(entry, map) {
    return &entry;
  };
  std::sort(entries.begin(), entries.end(), [](auto* a, auto* b) { return a->first < b->first; });
  for (size_t i = 0; i < entries.size(); ++i) {
    list[i].setKey(requestText(entries[i]->first, field));
    list[i].setValue(requestText(entries[i]->second, field));
  }
}

void fillTexts(TextsBuilder list, const StringList& strings, const Field& field) {
  for (int i = 0; i < strings.size(); ++i) {
    list.set(i, requestText(strings[i], field.at(i)));
  }
}

void readPairs(PairsReader list, StringMap& map) {
  for (auto pair : list) {
    map[replyText(pair.getKey())] = replyText(pair.getValue());
  }
}

void readTexts(TextsReader list, StringList& strings) {
  for (auto text : list) {
    strings.Add(replyText(text));
  }
}

}  // namespace belay::criapi
