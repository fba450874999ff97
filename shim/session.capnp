# What a shim and a streaming session (belay-session) say to each other about one exec, one attach or
# one client's port-forwards.
#
# They share one SOCK_SEQPACKET socket, which the supervisor asked the shim for (Container.exec,
# Container.attach, Shim.portForward) and handed to the session. Each packet is one message, in one
# segment, of at most maxPacket bytes, that can be understood without any other. There are no
# capabilities and no state in the protocol: the shim may be replaced by its successor between any two
# packets, and the supervisor is not needed any more. A packet is the message in Cap'n Proto's usual
# stream framing: the segment table (one segment), then the segment. Bytes of the streams never
# travel here: descriptors do, as SCM_RIGHTS of the packet that speaks of them.
#
# The session's socket is shut for neither side by a packet that it does not understand (a newer
# peer's): that is passed over. A packet that is no message, or is too large, ends the session.
#
# Each side hangs up by closing the socket. A session that goes harms nobody: what that means for an
# exec is said at Start, for an attach at StdinEnded.

@0xc4e1a4c3a0b6d2f7;

using Cxx = import "/capnp/c++.capnp";
using ShimProtocol = import "/shim/shim.capnp";
$Cxx.namespace("belay::shim");

const maxPacket :UInt32 = 16384;

struct ToShim {
  union {
    start @0 :Start;
    # Exec and attach: begin. Comes once, when the client's streams are all there.

    resize @1 :WindowSize;
    # Exec and attach with a terminal; before start it is the size to begin with.

    stdinEnded @2 :Void;
    # Attach: the client will send nothing more to the container's stdin, and the session has closed
    # its descriptor of it. A container made with stdin_once has no other writer: it gets EOF. (The
    # session of an exec closes its own end, which is the only one.) The same is meant when the
    # socket is closed.

    dial @3 :Dial;
    # Port-forward: a connection to a port of the pod.
  }

  struct Start {
    # The process of an exec, or the watching of an attach. A session that goes before its exec has
    # ended takes its ends of the streams along: the process meets EOF, EPIPE, or the hang-up of its
    # terminal, and may go on. It is still reaped, and its cgroup removed when it is empty.
  }

  struct Dial {
    id @0 :UInt32;
    # Chosen by the session; repeated in the answer.

    port @1 :UInt16;
    # 127.0.0.1 is tried first, then [::1], within the pod's network namespace.
  }
}

struct WindowSize {
  columns @0 :UInt16;
  rows @1 :UInt16;
}

struct FromShim {
  union {
    started @0 :Started;
    # Answer to start. The packet carries, in this order, those descriptors that its fields name.

    failed @1 :ShimProtocol.Failure;
    # Answer to start; nothing follows it. Of an exec whose command cannot be run: the code is
    # notFound or failedPrecondition, and `exited` with 127 or 126 does not come.

    exited @2 :ShimProtocol.Exit;
    # The exec's process, or the attached container, has ended. What it wrote may still be in the
    # pipes. Nothing follows it.

    dialed @3 :Dialed;
    # Carries the connected socket.

    dialFailed @4 :DialFailed;

    cut @5 :Text;
    # Attach: this client was too slow, and output was dropped. One sentence for it. The output pipes
    # are closed; nothing follows.
  }

  struct Started {
    stdin @0 :Bool;
    # Where the client's input is to be written: a pipe's or a FIFO's end, or a pty master.

    stdout @1 :Bool;
    # A pipe's end; for an exec with a terminal the pty master. With input, too, that is a second
    # descriptor of the same open file.

    stderr @2 :Bool;
    # A pipe's end.
  }

  struct Dialed {
    id @0 :UInt32;
  }

  struct DialFailed {
    id @0 :UInt32;
    failure @1 :ShimProtocol.Failure;
  }
}
