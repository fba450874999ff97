// One connection of a streaming client, from its first byte to its last.
#include "criapi/streaming/serve.h"

#include <kj/debug.h>

#include "criapi/streaming/port-forward.h"
#include "criapi/streaming/refused-session.h"
#include "criapi/streaming/spdy-connection.h"
#include "criapi/streaming/terminal-session.h"
#include "criapi/streaming/upgrade.h"
#include "criapi/streaming/websocket-connection.h"
#include "criapi/streaming/websocket-tunnel.h"
#include "failpoint/failpoint.h"
#include "shim/packet.h"

namespace belay::criapi::streaming {
namespace {

template <typename T>
kj::Promise<kj::Maybe<T>> within(kj::Timer& timer, kj::Duration limit, kj::Promise<T> promise) {
  return promise.then([](T&& result) { return kj::Maybe<T>(kj::mv(result)); })
      .exclusiveJoin(timer.afterDelay(limit).then([]() { return kj::Maybe<T>(nullptr); }));
}

// The kernel would answer bytes that nobody has read with a reset, which may overtake what we sent.
kj::Promise<void> lingerUntilClosed(kj::AsyncInputStream& client) {
  kj::byte ignored[4096];
  while (co_await client.tryRead(ignored, 1, sizeof(ignored)) > 0) {
  }
}

class Session {
 public:
  Session(kj::UnixEventPort& port, kj::Timer& timer, kj::AsyncIoStream& client,
          const SessionSettings& settings)
      : context{port, timer, backlog, settings},
        client(client),
        settings(settings),
        activity(timer) {}

  kj::Promise<void> run(kj::AutoCloseFd daemon) {
    auto asked = co_await within(context.timer, settings.headTimeout, readHead(client));
    KJ_IF_MAYBE (inTime, asked) {
      KJ_IF_MAYBE (head, *inTime) {
        if (head->is<Refusal>()) {
          co_await refuse(kj::mv(head->get<Refusal>()));
        } else {
          auto upgrade = chooseUpgrade(head->get<RequestHead>());
          if (upgrade.is<Refusal>()) {
            co_await refuse(kj::mv(upgrade.get<Refusal>()));
          } else {
            co_await redeem(upgrade.get<Upgrade>(), kj::mv(head->get<RequestHead>().early),
                            kj::mv(daemon));
          }
        }
      }
    } else {
      co_await refuse({408, kj::str("The request did not come within ",
                                    settings.headTimeout / kj::SECONDS, " s.")});
    }
  }

 private:
  InputBacklog backlog;
  SessionContext context;
  kj::AsyncIoStream& client;
  const SessionSettings& settings;
  Activity activity;

  kj::Promise<void> refuse(Refusal refusal) {
    auto response = refusalResponse(refusal);
    co_await client.write(response.begin(), response.size());
    client.shutdownWrite();
    co_await lingerUntilClosed(client).exclusiveJoin(
        context.timer.afterDelay(settings.lingerTimeout));
  }

  // Asks belayd what the token is good for.
  kj::Promise<void> redeem(const Upgrade& upgrade, kj::Array<kj::byte> early,
                           kj::AutoCloseFd daemon) {
    kj::Maybe<kj::Own<shim::Packet>> answer;
    try {
      shim::PacketSocket socket(context.port, kj::mv(daemon), MAX_PACKET);
      CO_FAILPOINT(context.timer, "session.redeem/before-asking");
      answer = co_await ask(socket, upgrade);
      CO_FAILPOINT(context.timer, "session.redeem/after-answer");
    } catch (...) {
      auto exception = kj::getCaughtExceptionAsKj();
      KJ_LOG(WARNING, "belayd did not redeem a token", exception);
    }
    KJ_IF_MAYBE (packet, answer) {
      auto grant = (*packet)->as<Grant>();
      if (grant.isUnknown()) {
        co_await refuse(
            {404, kj::str("The token is unknown, used or too old: ask the CRI for a new "
                          "one.")});
      } else {
        co_await client.write(upgrade.response.begin(), upgrade.response.size());
        CO_FAILPOINT(context.timer, "session.stream/after-upgrade");
        co_await stream(upgrade, grant, kj::mv((*packet)->fds), kj::mv(early));
      }
    } else {
      co_await refuse({503, kj::str("belayd went away while the request was being made: try "
                                    "again.")});
    }
  }

  kj::Promise<kj::Maybe<kj::Own<shim::Packet>>> ask(shim::PacketSocket& socket,
                                                    const Upgrade& upgrade) {
    capnp::MallocMessageBuilder message;
    auto redeem = message.initRoot<Redeem>();
    redeem.setKind(upgrade.kind);
    redeem.setToken(upgrade.token);
    co_await socket.send(message);
    auto answered = co_await within(context.timer, settings.redeemTimeout, socket.receive());
    KJ_IF_MAYBE (answer, answered) co_return kj::mv(*answer);
    co_return nullptr;
  }

  kj::Promise<void> stream(const Upgrade& upgrade, Grant::Reader grant,
                           kj::Array<kj::AutoCloseFd> fds, kj::Array<kj::byte> early) {
    switch (upgrade.protocol) {
      case Protocol::SPDY: {
        SpdyConnection connection(client, kj::mv(early), backlog, activity);
        co_return co_await serveStreams(connection, upgrade, grant, kj::mv(fds));
      }
      case Protocol::WEBSOCKET_TUNNEL: {
        WebSocketTunnel tunnel(client, kj::mv(early));
        SpdyConnection connection(tunnel, nullptr, backlog, activity);
        co_return co_await serveStreams(connection, upgrade, grant, kj::mv(fds));
      }
      case Protocol::WEBSOCKET_V4:
      case Protocol::WEBSOCKET_V5: {
        WebSocketConnection connection(client, kj::mv(early), channelsOf(upgrade, grant),
                                       context.timer, backlog, activity);
        co_return co_await serveStreams(connection, upgrade, grant, kj::mv(fds));
      }
    }
  }

  static WebSocketConnection::Channels channelsOf(const Upgrade& upgrade, Grant::Reader grant) {
    bool halfClose = upgrade.protocol == Protocol::WEBSOCKET_V5;
    // A refused session needs only the channel that the reason goes to.
    if (!grant.isTerminal()) return {.halfClose = halfClose};
    auto streams = grant.getTerminal();
    return {streams.getStdin(), streams.getStdout(), streams.getStderr(), streams.getTty(),
            halfClose};
  }

  kj::Promise<void> serveStreams(Connection& connection, const Upgrade& upgrade,
                                 Grant::Reader grant, kj::Array<kj::AutoCloseFd> fds) {
    if (grant.isRefused()) {
      if (upgrade.kind == Kind::PORT_FORWARD) {
        PortForward session(context, grant.getRefused());
        co_await converse(connection, session);
      } else {
        RefusedSession session(context, grant.getRefused());
        co_await converse(connection, session);
      }
      co_return;
    }
    KJ_REQUIRE(fds.size() == 1, "belayd granted a session without the shim's socket.");
    if (grant.isPortForward()) {
      PortForward session(context, kj::mv(fds[0]));
      co_await converse(connection, session);
    } else {
      TerminalSession session(context, grant.getTerminal(), kj::mv(fds[0]));
      co_await converse(connection, session);
    }
  }

  // Until the session is over, the client has left or nothing has moved for long.
  template <typename SessionKind>
  kj::Promise<void> converse(Connection& connection, SessionKind& session) {
    auto reading = connection.run(session).exclusiveJoin(client.whenWriteDisconnected()).fork();
    bool over =
        co_await session.run()
            .then([]() { return true; })
            .exclusiveJoin(activity.whenIdleFor(settings.idleTimeout).then([]() { return true; }))
            .exclusiveJoin(reading.addBranch().then([]() { return false; }));
    if (!over) co_return;
    CO_FAILPOINT(context.timer, "session.stream/before-goodbye");
    auto goodbye = connection.finish().then([&]() { return reading.addBranch(); });
    co_await goodbye.exclusiveJoin(context.timer.afterDelay(settings.lingerTimeout));
  }
};

}  // namespace

kj::Promise<void> serve(kj::UnixEventPort& port, kj::Timer& timer,
                        kj::Own<kj::AsyncIoStream> client, kj::AutoCloseFd daemon,
                        const SessionSettings& settings) {
  Session session(port, timer, *client, settings);
  try {
    co_await session.run(kj::mv(daemon));
  } catch (...) {
    auto exception = kj::getCaughtExceptionAsKj();
    if (exception.getType() == kj::Exception::Type::DISCONNECTED) co_return;
    KJ_LOG(WARNING, "a streaming connection failed", exception);
  }
}

}  // namespace belay::criapi::streaming
