// Where a registry's images can be had: the registry itself and its mirrors, from hosts.toml files
// in containerd's layout (containerd, docs/hosts.md), so that a node's existing configuration
// serves.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "snapshot/pull.capnp.h"

namespace belay::snapshot {

// One endpoint; the fields are those of pull.capnp's Host.
struct RegistryHost {
  struct Header {
    kj::String name;
    kj::String value;
  };

  kj::String url;  // "https://host:port/path", no trailing slash
  bool overridePath = false;
  bool canResolve = true;
  bool canPull = true;
  bool skipVerify = false;
  kj::Vector<kj::String> caFiles;  // PEM texts
  kj::String clientCertificate;
  kj::String clientKey;
  kj::Vector<Header> headers;
  uint32_t dialTimeoutMs = 0;  // 0: belay-pull's own
  bool isMirror = false;

  void fill(Host::Builder builder) const;
};

// The endpoints to try for a registry ("docker.io", "127.0.0.1:5000"), in order: the mirrors as the
// file's lines have them, then the server. Of the folders the first that holds one of
// `host_port_`, `host:port` or `_default` is used; in it hosts.toml, or else the older layout of
// *.crt, *.cert and *.key files. Files are read at each call: changes need no restart.
//
// Without configuration it is https, except for localhost and loopback addresses with a port other
// than 443: http, as containerd falls back to there.
//
// Throws FAILED_PRECONDITION naming file, line and key when the configuration is wrong.
kj::Array<RegistryHost> hostsFor(kj::StringPtr registry,
                                 kj::ArrayPtr<const kj::String> configFolders);

}  // namespace belay::snapshot
