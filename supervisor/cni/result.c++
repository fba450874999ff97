// What CNI plug-ins print.
#include "supervisor/cni/result.h"

#include <arpa/inet.h>
#include <kj/vector.h>

#include <string>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;
using snapshot::Code;

constexpr size_t MAX_WORDS_BYTES = 1024;
constexpr size_t MAX_ADDRESSES = 64;

kj::String own(const std::string& text) {
  return kj::heapString(text.data(), text.size());
}

// "10.1.0.5/16" is 10.1.0.5.
kj::String address(const Json& cidr) {
  auto text = cidr.is_string() ? cidr.get<std::string>() : std::string();
  auto plain = text.substr(0, text.find('/'));
  in6_addr buffer;
  if (inet_pton(AF_INET, plain.c_str(), &buffer) != 1 &&
      inet_pton(AF_INET6, plain.c_str(), &buffer) != 1) {
    snapshot::fail(Code::INTERNAL, "CNI: the network's result holds \"", own(text),
                   "\" for an address");
  }
  return own(plain);
}

// Is entry `index` of the result's interfaces the pod's `ifName`? Host ends have no sandbox.
bool isPodInterface(const Json& result, const Json& index, kj::StringPtr ifName) {
  auto interfaces = result.find("interfaces");
  if (!index.is_number_unsigned() || interfaces == result.end() || !interfaces->is_array() ||
      index.get<uint64_t>() >= interfaces->size()) {
    return false;
  }
  auto& interface = (*interfaces)[index.get<uint64_t>()];
  if (!interface.is_object()) return false;
  auto member = [&](const char* key) {
    auto found = interface.find(key);
    return found != interface.end() && found->is_string() ? found->get<std::string>()
                                                          : std::string();
  };
  return member("name") == ifName.cStr() && !member("sandbox").empty();
}

// Their words on one line, not too many.
kj::String words(kj::StringPtr text) {
  auto cut = kj::heapString(text.slice(0, kj::min(text.size(), MAX_WORDS_BYTES)));
  for (char& c : cut) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  size_t end = cut.size();
  while (end > 0 && cut[end - 1] == ' ')
    --end;
  return kj::heapString(cut.slice(0, end));
}

Code codeOf(uint64_t cniCode) {
  switch (cniCode) {
    case 11:
    case 50:
    case 51:
      return Code::UNAVAILABLE;
    case 1:
    case 7:
      return Code::FAILED_PRECONDITION;
    default:
      return Code::INTERNAL;
  }
}

}  // namespace

kj::Array<kj::String> addressesOf(const Json& result, kj::StringPtr ifName) {
  kj::Vector<kj::String> addresses;
  if (auto ips = result.find("ips"); ips != result.end() && ips->is_array()) {
    for (auto& ip : *ips) {
      if (!ip.is_object() || addresses.size() == MAX_ADDRESSES) continue;
      auto index = ip.find("interface");
      bool anywhere = index == ip.end() || index->is_null();
      if (!anywhere && !isPodInterface(result, *index, ifName)) continue;
      addresses.add(address(ip.value("address", Json())));
    }
  }
  // Results before 0.3.0 know one address of each family.
  for (auto key : {"ip4", "ip6"}) {
    auto found = result.find(key);
    if (found == result.end() || !found->is_object()) continue;
    addresses.add(address(found->value("ip", Json())));
  }
  return addresses.releaseAsArray();
}

kj::Exception pluginFailure(kj::StringPtr what, const snapshot::ExitStatus& status,
                            kj::StringPtr output, kj::StringPtr errors) {
  auto error = Json::parse(output.begin(), output.end(), nullptr, false);
  if (error.is_object() && error.contains("msg") && error["msg"].is_string()) {
    uint64_t code = 0;
    if (auto found = error.find("code"); found != error.end() && found->is_number_unsigned()) {
      code = found->get<uint64_t>();
    }
    kj::String details;
    if (auto found = error.find("details"); found != error.end() && found->is_string()) {
      auto text = words(own(found->get<std::string>()));
      if (text.size() > 0) details = kj::str(" (", text, ")");
    }
    return snapshot::failure(codeOf(code),
                             kj::str(what, " failed: ", words(own(error["msg"].get<std::string>())),
                                     details, ", CNI code ", code));
  }
  auto said = words(errors.size() > 0 ? errors : output);
  return snapshot::failure(Code::INTERNAL,
                           kj::str(what, " failed with ", status.describe(),
                                   said.size() > 0 ? ": " : ", and said nothing", said));
}

}  // namespace belay::supervisor
