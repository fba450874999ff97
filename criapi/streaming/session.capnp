# What belayd and belay-session, the process of one streaming connection, say to each other.
#
# belayd accepts a connection on its streaming address without reading a byte of it, and starts a
# session with that socket as descriptor 0 and a SOCK_SEQPACKET socket to itself as descriptor 3. With
# TLS, the certificate chain and the key (PEM) are descriptors 4 and 5, opened for that session alone.
#
# The session reads the HTTP request and asks once: Redeem. belayd answers once: Grant, with the
# session's socket to the shim attached (shim/session.capnp). Both then close their socket: from here
# on the session needs no belayd. Each packet is one message of one segment in Cap'n Proto's usual
# stream framing (segment table, segment), at most maxPacket bytes.

@0xe8f5d1a8d3c97b42;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::criapi::streaming");

const maxPacket :UInt32 = 65536;

enum Kind {
  exec @0;
  attach @1;
  portForward @2;
}

struct Redeem {
  kind @0 :Kind;
  # What the request's path says: /exec/TOKEN, /attach/TOKEN, /portforward/TOKEN.

  token @1 :Text;
}

struct Grant {
  union {
    unknown @0 :Void;
    # No such token, or used, or too old, or of another kind: HTTP 404.

    refused @1 :Text;
    # The token was good, but the container or the shim is not: a sentence that the client gets on its
    # error stream, after the upgrade, as an internal error. No descriptor comes.

    terminal @2 :Streams;
    # Exec or attach.

    portForward @3 :List(UInt16);
    # The ports of the CRI request; empty if it named none.
  }

  struct Streams {
    stdin @0 :Bool;
    stdout @1 :Bool;
    stderr @2 :Bool;
    tty @3 :Bool;
    # A resize stream comes, too.

    hasExitCode @4 :Bool;
    # Exec: the status tells how the process ended. An attach ends with success.
  }
}
