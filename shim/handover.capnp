# What the program that runs a pod passes on to the one that takes its place in the same process, by
# execve(2): in a memory file whose descriptor's number is given on the command line (--resume). All
# numbers below are of descriptors that stay open meanwhile. What the pod and its containers are stands
# in the record (ShimRecord, shim.capnp), which has been written just before.
#
# The rules for old and new programs are those of shim.capnp.

@0xb0a5f1d9c2e84673;

using Cxx = import "/capnp/c++.capnp";
using Spec = import "/shim/spec.capnp";
$Cxx.namespace("belay::shim");

struct Handover {
  protocolVersion @0 :UInt32;
  # Of shim.capnp: the program that wrote this.

  lock @1 :Int32;
  # On the file "lock".

  listener @2 :Int32;
  # Listens on "shim.sock".

  descriptors @3 :List(Inherited);
  # Of containers, by the names of Shim.descriptors.

  sessions @4 :List(Session);

  struct Inherited {
    name @0 :Text;
    number @1 :Int32;
  }

  struct Session {
    # A streaming session (session.capnp).

    socket @0 :Int32;
    containerId @1 :Text;
    # Empty for portForward.

    stdin @2 :Bool;
    stdout @3 :Bool;
    stderr @4 :Bool;
    # What its client wants.

    union {
      execWaiting @5 :Spec.ProcessSpec;
      # Nothing runs before the session says start.

      exec :group {
        pid @6 :Int32;
        ptyMaster @7 :Int32;
        # -1 without a terminal.
      }

      attachWaiting @8 :Void;

      attach :group {
        # Each -1 if it has none.
        input @9 :Int32;
        # Of a terminal: the pipe in which what the client types comes.
        output @10 :Int32;
        errors @11 :Int32;
        # Where the container's output goes for the client.
      }

      portForward @12 :Void;
    }
  }
}
