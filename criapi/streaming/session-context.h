// What the parts of a session share.
#pragma once

#include <kj/async-unix.h>
#include <kj/timer.h>

#include "criapi/streaming/input-backlog.h"

namespace belay::criapi::streaming {

struct SessionSettings {
  // How long a session lives in which no stream's bytes move; kubelet's default for what it serves.
  kj::Duration idleTimeout = 4 * kj::HOURS;
  // From the connection to the end of the request's head, with TLS.
  kj::Duration headTimeout = 30 * kj::SECONDS;
  // For belayd to redeem a token.
  kj::Duration redeemTimeout = 30 * kj::SECONDS;
  // For the client to open all of its streams, and the second of a port-forward's pair.
  kj::Duration streamTimeout = 30 * kj::SECONDS;
  // For a shim to connect to a port of its own loopback.
  kj::Duration dialTimeout = 30 * kj::SECONDS;
  // After the process has ended (or one direction of a forwarded connection): how long nothing may
  // come before what is left is given up. Something that a container left running may hold a pipe
  // open for ever.
  kj::Duration quietTimeout = 1 * kj::SECONDS;
  // For the client to close after we did.
  kj::Duration lingerTimeout = 30 * kj::SECONDS;
};

struct SessionContext {
  kj::UnixEventPort& port;
  kj::Timer& timer;
  InputBacklog& backlog;
  const SessionSettings& settings;
};

}  // namespace belay::criapi::streaming
