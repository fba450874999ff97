# What the streaming server of a belayd that is replaced leaves to the next (supervisor/handover.capnp,
# Handover.streaming). Fields are only ever added.

@0xc9e4d17b52a86f03;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::criapi::streaming");

struct StreamHandover {
  tokens @0 :List(Token);
  # URLs that nobody has used yet.

  asking @1 :List(Int32);
  # Descriptors of sessions that have not asked yet what their token is good for (session.capnp).

  struct Token {
    text @0 :Text;
    expiresAtNs @1 :Int64;
    # CLOCK_MONOTONIC

    union {
      exec @2 :Exec;
      attach @3 :Attach;
      portForward @4 :PortForward;
    }
  }

  struct Streams {
    stdin @0 :Bool;
    stdout @1 :Bool;
    stderr @2 :Bool;
    tty @3 :Bool;
  }

  struct Exec {
    containerId @0 :Text;
    command @1 :List(Data);
    streams @2 :Streams;
  }

  struct Attach {
    containerId @0 :Text;
    streams @1 :Streams;
  }

  struct PortForward {
    podId @0 :Text;
    ports @1 :List(UInt16);
  }
}
