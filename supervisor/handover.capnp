# What a belayd that is replaced leaves to the program that takes its place. The process stays the
# same (execve), and with it pid, children and descriptors; this says which descriptor is what, and
# what was in memory alone. Old and new are of different versions: fields are only ever added, and
# each has a default that an older belayd could have meant.

@0xf2a36b0c9d8e4157;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::supervisor");

struct Handover {
  version @0 :Text;
  # The old one's.

  databaseLayout @1 :UInt32;
  # The layout (PRAGMA user_version) that the old one wrote.

  # What the new one's configuration must agree with: descriptors and state that are handed over
  # belong to it.
  root @2 :Text;
  state @3 :Text;
  listen @4 :Text;
  cgroupRoot @5 :Text;
  streamingAddress @6 :Text;
  # What the streaming socket is bound to: "127.0.0.1:40123".

  # Descriptor numbers; -1 for none.
  lock @7 :Int32 = -1;
  # Locked with flock(2), for as long as a belayd lives on `root`.
  criSocket @8 :Int32 = -1;
  adminSocket @9 :Int32 = -1;
  streamingSocket @10 :Int32 = -1;
  relaySocket @11 :Int32 = -1;
  # To the process that keeps the old one's connections (criapi/successor.capnp).

  stateLock @14 :Int32 = -1;
  cgroupLock @15 :Int32 = -1;
  # Of `state` and of `cgroupRoot`, as `lock`. An older belayd has none.

  held @12 :List(HeldDescriptor);
  # held-descriptors.h

  streaming @13 :AnyPointer;
  # criapi/streaming/handover.capnp

  struct HeldDescriptor {
    name @0 :Text;
    number @1 :Int32;
  }
}
