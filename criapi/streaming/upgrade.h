// What a client asks for, by which protocol, and the answer.
#pragma once

#include "criapi/streaming/http-head.h"
#include "criapi/streaming/session.capnp.h"

namespace belay::criapi::streaming {

enum class Protocol {
  SPDY,              // SPDY/3.1: v4.channel.k8s.io or portforward.k8s.io
  WEBSOCKET_V4,      // v4.channel.k8s.io
  WEBSOCKET_V5,      // v5.channel.k8s.io: as v4, and the client can half-close
  WEBSOCKET_TUNNEL,  // SPDY/3.1+portforward.k8s.io: SPDY within WebSocket
};

struct Upgrade {
  Kind kind;
  kj::String token;
  Protocol protocol;
  // 101, whole.
  kj::String response;
};

// Looks at everything that can be known without the token.
//
// Spoken is what kubelet, kubectl, crictl and critest of Kubernetes 1.36 can ask a runtime for.
// They offer older protocols too, always after these.
kj::OneOf<Upgrade, Refusal> chooseUpgrade(const RequestHead& head);

}  // namespace belay::criapi::streaming
