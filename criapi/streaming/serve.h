// One connection of a streaming client, from its first byte to its last.
#pragma once

#include <kj/async-io.h>

#include "criapi/streaming/session-context.h"

namespace belay::criapi::streaming {

// `client` is the accepted connection (after TLS, if there is TLS), `daemon` the socket to belayd
// (session.capnp). Resolves when the connection is over; failures that are the client's own are
// told to the client and not thrown.
kj::Promise<void> serve(kj::UnixEventPort& port, kj::Timer& timer,
                        kj::Own<kj::AsyncIoStream> client, kj::AutoCloseFd daemon,
                        const SessionSettings& settings);

}  // namespace belay::criapi::streaming
