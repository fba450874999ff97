// The terminal sizes that a client sends on its resize stream.
#include "criapi/streaming/resize.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace belay::criapi::streaming {
namespace {

// Names in any case, as Go's decoder takes them.
bool isName(const std::string& key, std::string_view lower) {
  if (key.size() != lower.size()) return false;
  for (size_t i = 0; i < key.size(); ++i)
    if ((key[i] | 0x20) != lower[i]) return false;
  return true;
}

uint16_t sizeOf(const nlohmann::json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > 0xffff) return 0;
  return value.get<uint16_t>();
}

}  // namespace

void ResizeParser::feed(kj::ArrayPtr<const kj::byte> bytes, OnSize onSize) {
  for (kj::byte byte : bytes) {
    // Objects hold nothing but numbers: no braces within.
    if (byte == '{') {
      inside = true;
      tooLong = false;
      object.clear();
    }
    if (!inside) continue;
    if (object.size() == MAX_OBJECT_BYTES) {
      tooLong = true;
    } else {
      object.push_back(byte);
    }
    if (byte != '}') continue;
    inside = false;
    auto json = tooLong ? nlohmann::json() : nlohmann::json::parse(object, nullptr, false);
    if (!json.is_object()) continue;
    uint16_t columns = 0, rows = 0;
    for (auto& [key, value] : json.items()) {
      if (isName(key, "width")) columns = sizeOf(value);
      if (isName(key, "height")) rows = sizeOf(value);
    }
    if (columns > 0 && rows > 0) onSize(columns, rows);
  }
}

}  // namespace belay::criapi::streaming
