// What an operator can set: every key with its default, however it was given. The order of
// authority, weakest first: the defaults below, /etc/belay/config.toml, the drop-in files of
// /etc/belay/conf.d in the order of their names, flags. Pure data: nothing here opens a socket or
// makes a folder.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/time.h>

namespace belay::supervisor {

enum class LogLevel { ERROR, WARNING, INFO, DEBUG };

// "error", "warning", "info", "debug".
kj::StringPtr nameOf(LogLevel level);

// Who makes pods' cgroups: belay's shims alone, or systemd, which is asked for a scope of each pod.
enum class CgroupDriver { CGROUPFS, SYSTEMD };

// "cgroupfs", "systemd".
kj::StringPtr nameOf(CgroupDriver driver);

// A runtime handler: what RunPodSandbox's runtime_handler may name.
struct RuntimeHandler {
  kj::String name;
  // What makes the containers. "builtin" is the one engine there is.
  kj::String engine = kj::str("builtin");
};

struct Config {
  // --- paths; each absolute, without "..", trailing slash or doubled slashes
  kj::String root = kj::str("/var/lib/belay");  // what survives a reboot: database, images
  kj::String state = kj::str("/run/belay");     // what does not: pods, sockets
  kj::String registryConfig = kj::str("/etc/belay/certs.d");  // REGISTRY/hosts.toml below it
  kj::String shimPath;     // belay-shim, beside this executable unless set
  kj::String pullPath;     // belay-pull, likewise
  kj::String sessionPath;  // belay-session, likewise
  kj::String cniConfDir = kj::str("/etc/cni/net.d");
  kj::Array<kj::String> cniBinDirs;  // searched in order; /opt/cni/bin, /usr/lib/cni

  // --- the CRI socket
  kj::String listen;  // "unix:///run/belay/belay.sock"; below `state` unless set
  // The path of `listen`.
  kj::StringPtr socketPath() const;

  // --- the daemon
  LogLevel logLevel = LogLevel::INFO;
  kj::String cgroupRoot = kj::str("belay");  // below each hierarchy's root; shims and, unless the
                                             // client names a parent, pods live there
  CgroupDriver cgroupDriver = CgroupDriver::CGROUPFS;  // must be the kubelet's, which asks for it
  // How long one CNI plug-in may take before its process group is killed.
  kj::Duration cniPluginTimeout = 60 * kj::SECONDS;

  // --- containers
  // Never give a container a lower OOM score adjustment than belayd's own: what an unprivileged
  // belayd must do, since the kernel refuses it.
  bool restrictOomScoreAdj = false;
  uint32_t maxLogLineBytes = 16384;  // a longer line is split (tag P)
  uint64_t shmBytes = 64ull << 20;   // a pod's /dev/shm
  // What a container without a seccomp profile gets: false is unconfined, the CRI's rule.
  bool seccompByDefault = false;
  bool unprivilegedPorts = true;  // net.ipv4.ip_unprivileged_port_start = 0 in pods
  bool unprivilegedIcmp = true;   // net.ipv4.ping_group_range = all in pods

  // --- exec, attach and port-forward
  kj::String streamingAddress = kj::str("127.0.0.1:0");  // IP:PORT; port 0: any free one
  // PEM files, read anew for each connection; both or neither. With them the URLs are https.
  kj::String streamingTlsCert;
  kj::String streamingTlsKey;
  kj::Duration streamingIdleTimeout = 4 * kj::HOURS;  // no byte of any stream for so long
  uint32_t streamingMaxSessions = 1000;               // connections at a time; more must wait

  // --- images
  uint32_t maxConcurrentDownloads = 3;               // blobs of one pull
  kj::Duration pullStallTimeout = 60 * kj::SECONDS;  // no byte for so long fails a pull

  // --- runtime handlers
  kj::String defaultHandler = kj::str("belay");  // what "" means
  kj::Array<RuntimeHandler> handlers;            // the default one among them, always

  // Looks a name up; "" is the default. Absent: the client named one that there is not.
  kj::Maybe<const RuntimeHandler&> handler(kj::StringPtr name) const;
};

// The defaults above with what depends on where the executable lies (`executableDir`, absolute).
Config defaultConfig(kj::StringPtr executableDir);

// The effective configuration as a TOML file that, loaded again, gives the same one.
kj::String dump(const Config& config);

}  // namespace belay::supervisor
