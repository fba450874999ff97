// See hosts.h.
#include "snapshot/hosts.h"

#include <fcntl.h>
#include <kj/debug.h>

#include <algorithm>
#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

#include "snapshot/failure.h"
#include "snapshot/go-duration.h"
#include "snapshot/sys/file.h"

namespace belay::snapshot {

namespace {

constexpr size_t MAX_FILE_BYTES = 1u << 20;  // of hosts.toml, a CA bundle, a certificate or a key

// The one registry whose API does not live at its name.
constexpr kj::StringPtr DEFAULT_REGISTRY = "docker.io"_kj;
constexpr kj::StringPtr DEFAULT_REGISTRY_API = "registry-1.docker.io"_kj;

// A folder of configuration for one registry.
struct ConfigFolder {
  kj::String path;
  kj::AutoCloseFd fd;
};

kj::StringPtr apiHostOf(kj::StringPtr registry) {
  return registry == DEFAULT_REGISTRY ? DEFAULT_REGISTRY_API : registry;
}

kj::StringPtr portOf(kj::StringPtr host) {
  if (host.endsWith("]")) return nullptr;
  KJ_IF_MAYBE (colon, host.findLast(':')) {
    return host.slice(*colon + 1);
  }
  return nullptr;
}

bool isLoopback(kj::StringPtr host) {
  return host == "localhost" || host.startsWith("localhost:") || host.startsWith("127.") ||
         host.startsWith("[::1]");
}

kj::String defaultUrl(kj::StringPtr registry) {
  kj::StringPtr port = portOf(registry);
  bool plain = isLoopback(registry) && port.size() > 0 && port != "443";
  return kj::str(plain ? "http://" : "https://", apiHostOf(registry));
}

// "https://host:port" of a URL, for finding out whose it is.
kj::String hostOfUrl(kj::StringPtr url) {
  auto rest = url.slice(KJ_ASSERT_NONNULL(url.findFirst(':')) + 3);
  KJ_IF_MAYBE (slash, rest.findFirst('/')) {
    return kj::heapString(rest.slice(0, *slash));
  }
  return kj::str(rest);
}

kj::Maybe<ConfigFolder> findFolder(kj::StringPtr registry,
                                   kj::ArrayPtr<const kj::String> configFolders) {
  kj::Vector<kj::String> names;
  KJ_IF_MAYBE (colon, registry.findLast(':')) {
    names.add(kj::str(registry.slice(0, *colon), "_", registry.slice(*colon + 1), "_"));
  }
  names.add(kj::str(registry));
  names.add(kj::str("_default"));
  for (const kj::String& folder : configFolders) {
    for (const kj::String& name : names) {
      auto path = kj::str(folder, '/', name);
      KJ_IF_MAYBE (fd, tryOpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)) {
        return ConfigFolder{kj::mv(path), kj::mv(*fd)};
      }
    }
  }
  return nullptr;
}

// One hosts.toml being read.
class HostsFile {
 public:
  HostsFile(kj::StringPtr registry, const ConfigFolder& folder)
      : registry(registry), folder(folder), path(kj::str(folder.path, "/hosts.toml")) {}

  kj::Array<RegistryHost> read(kj::StringPtr text) {
    const toml::table root = parse(text);
    kj::Vector<RegistryHost> result;
    for (const auto& [url, table] : hostsInOrder(root)) {
      result.add(readHost(normalisedUrl(url, *table), *table));
    }
    // The keys outside of any host belong to the registry's own server, which comes last.
    kj::String server = kj::str(stringOf(root["server"], "server"));
    bool given = server.size() > 0;
    result.add(readHost(given ? normalisedUrl(server, root) : defaultUrl(registry), root));
    return result.releaseAsArray();
  }

 private:
  kj::StringPtr registry;
  const ConfigFolder& folder;
  kj::String path;

  [[noreturn]] void refuse(const toml::source_region& where, kj::StringPtr why) {
    fail(Code::FAILED_PRECONDITION, "registry configuration ", path, ", line ",
         static_cast<uint>(where.begin.line), ": ", why);
  }

  toml::table parse(kj::StringPtr text) {
    try {
      return toml::parse(std::string_view(text.begin(), text.size()));
    } catch (const toml::parse_error& error) {
      auto why = error.description();
      refuse(error.source(), kj::heapString(why.data(), why.size()));
    }
  }

  // toml++ gives keys by the alphabet; what counts is the order of the lines.
  std::vector<std::pair<kj::String, const toml::table*>> hostsInOrder(const toml::table& root) {
    std::vector<std::pair<kj::String, const toml::table*>> result;
    const toml::node* node = root.get("host");
    if (node == nullptr) return result;
    if (!node->is_table()) refuse(node->source(), "host must be a table for each URL");
    for (const auto& [key, value] : *node->as_table()) {
      if (!value.is_table())
        refuse(value.source(), "a host must be a table: [host.\"https://...\"]");
      result.emplace_back(kj::heapString(key.str().data(), key.str().size()), value.as_table());
    }
    std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) {
      auto left = a.second->source().begin, right = b.second->source().begin;
      return left.line != right.line ? left.line < right.line : left.column < right.column;
    });
    return result;
  }

  kj::String normalisedUrl(kj::StringPtr text, const toml::table& table) {
    auto url = text.startsWith("http://") || text.startsWith("https://")
                   ? kj::str(text)
                   : kj::str("https://", text);
    while (url.endsWith("/"))
      url = kj::heapString(url.slice(0, url.size() - 1));
    if (hostOfUrl(url).size() == 0) refuse(table.source(), kj::str("\"", text, "\" names no host"));
    return url;
  }

  RegistryHost readHost(kj::String url, const toml::table& table) {
    RegistryHost host;
    host.isMirror = hostOfUrl(url) != apiHostOf(registry) && hostOfUrl(url) != registry;
    // A URL that ends in /v2 is the API's root already.
    host.overridePath = flag(table["override_path"], "override_path") || url.endsWith("/v2");
    host.url = kj::mv(url);
    host.skipVerify = flag(table["skip_verify"], "skip_verify");
    readCapabilities(table, host);
    for (auto& name : strings(table["ca"], "ca"))
      host.caFiles.add(readFile(table, name));
    readClient(table, host);
    readHeaders(table, host);
    auto timeout = stringOf(table["dial_timeout"], "dial_timeout");
    if (timeout.size() > 0) {
      KJ_IF_MAYBE (ms, parseGoDurationMs(timeout)) {
        host.dialTimeoutMs = kj::min(*ms, uint64_t(kj::maxValue) >> 32);
      } else {
        refuse(table["dial_timeout"].node()->source(),
               "dial_timeout must be like \"3s\" or \"500ms\"");
      }
    }
    return host;
  }

  void readCapabilities(const toml::table& table, RegistryHost& host) {
    auto names = strings(table["capabilities"], "capabilities");
    if (names.size() == 0) return;
    host.canPull = host.canResolve = false;
    for (auto& name : names) {
      if (name == "pull") {
        host.canPull = true;
      } else if (name == "resolve") {
        host.canResolve = true;
      } else if (name != "push" && name != "referrers") {
        refuse(table["capabilities"].node()->source(),
               kj::str("unknown capability \"", name, "\"; pull, resolve and push are known"));
      }
    }
  }

  // One file with certificate and key, or a pair; of several pairs the first is used.
  void readClient(const toml::table& table, RegistryHost& host) {
    auto client = table["client"];
    if (!client) return;
    const toml::array* list = client.as_array();
    bool pairs = list != nullptr && !list->empty() && list->get(0)->is_array();
    auto files =
        strings(pairs ? toml::node_view<const toml::node>(list->get(0)) : client, "client");
    if (files.size() == 0 || (pairs && files.size() > 2)) {
      refuse(client.node()->source(), "client must be a file, or [[certificate, key]]");
    }
    host.clientCertificate = readFile(table, files[0]);
    host.clientKey = pairs && files.size() == 2 && files[1].size() > 0
                         ? readFile(table, files[1])
                         : kj::str(host.clientCertificate);
  }

  void readHeaders(const toml::table& table, RegistryHost& host) {
    auto header = table["header"];
    if (!header) return;
    if (!header.is_table()) refuse(header.node()->source(), "header must be a table");
    for (const auto& [key, value] : *header.as_table()) {
      auto name = kj::heapString(key.str().data(), key.str().size());
      for (auto& text : strings(toml::node_view<const toml::node>(&value), "header")) {
        if (name.findFirst('\n') != nullptr || text.findFirst('\n') != nullptr ||
            text.findFirst('\r') != nullptr || name.findFirst(':') != nullptr) {
          refuse(value.source(), "a header must be one line");
        }
        host.headers.add(RegistryHost::Header{kj::str(name), kj::mv(text)});
      }
    }
  }

  kj::String readFile(const toml::table& table, kj::StringPtr name) {
    // A relative name is relative to the folder of hosts.toml; openat takes absolute ones as they
    // are.
    KJ_IF_MAYBE (text, tryReadFile(folder.fd, name, MAX_FILE_BYTES)) {
      return kj::mv(*text);
    }
    refuse(table.source(), kj::str("file ", name, " is not there"));
  }

  bool flag(toml::node_view<const toml::node> view, kj::StringPtr key) {
    if (!view) return false;
    if (!view.is_boolean()) refuse(view.node()->source(), kj::str(key, " must be true or false"));
    return view.as_boolean()->get();
  }

  kj::String stringOf(toml::node_view<const toml::node> view, kj::StringPtr key) {
    if (!view) return nullptr;
    if (!view.is_string()) refuse(view.node()->source(), kj::str(key, " must be a string"));
    const std::string& text = view.as_string()->get();
    return kj::heapString(text.data(), text.size());
  }

  // A string, or a list of them.
  kj::Vector<kj::String> strings(toml::node_view<const toml::node> view, kj::StringPtr key) {
    kj::Vector<kj::String> result;
    if (!view) return result;
    if (const toml::array* list = view.as_array()) {
      for (const toml::node& item : *list) {
        result.add(stringOf(toml::node_view<const toml::node>(&item), key));
      }
    } else {
      result.add(stringOf(view, key));
    }
    return result;
  }
};

// The folder layout of Docker: *.crt are CAs, NAME.cert with NAME.key is a client certificate.
RegistryHost hostOfCertificates(kj::StringPtr registry, const ConfigFolder& folder) {
  RegistryHost host;
  host.url = defaultUrl(registry);
  auto names = namesIn(folder.fd);
  std::sort(names.begin(), names.end());
  auto read = [&](kj::StringPtr name) {
    KJ_IF_MAYBE (text, tryReadFile(folder.fd, name, MAX_FILE_BYTES)) {
      return kj::mv(*text);
    }
    fail(Code::FAILED_PRECONDITION, "registry configuration ", folder.path, ": file ", name,
         " is not there");
  };
  for (auto& name : names) {
    if (name.endsWith(".crt")) host.caFiles.add(read(name));
    if (name.endsWith(".cert") && host.clientCertificate.size() == 0) {
      host.clientCertificate = read(name);
      host.clientKey = read(kj::str(name.slice(0, name.size() - 5), ".key"));
    }
  }
  return host;
}

}  // namespace

void RegistryHost::fill(Host::Builder builder) const {
  builder.setUrl(url);
  builder.setOverridePath(overridePath);
  builder.setCanResolve(canResolve);
  builder.setCanPull(canPull);
  builder.setSkipVerify(skipVerify);
  auto files = builder.initCaFiles(caFiles.size());
  for (uint i = 0; i < caFiles.size(); ++i)
    files.set(i, caFiles[i]);
  builder.setClientCertificate(clientCertificate);
  builder.setClientKey(clientKey);
  auto list = builder.initHeaders(headers.size());
  for (uint i = 0; i < headers.size(); ++i) {
    list[i].setName(headers[i].name);
    list[i].setValue(headers[i].value);
  }
  builder.setDialTimeoutMs(dialTimeoutMs);
  builder.setIsMirror(isMirror);
}

kj::Array<RegistryHost> hostsFor(kj::StringPtr registry,
                                 kj::ArrayPtr<const kj::String> configFolders) {
  KJ_IF_MAYBE (folder, findFolder(registry, configFolders)) {
    KJ_IF_MAYBE (text, tryReadFile(folder->fd, "hosts.toml", MAX_FILE_BYTES)) {
      return HostsFile(registry, *folder).read(*text);
    }
    return kj::arr(hostOfCertificates(registry, *folder));
  }
  RegistryHost host;
  host.url = defaultUrl(registry);
  return kj::arr(kj::mv(host));
}

}  // namespace belay::snapshot
