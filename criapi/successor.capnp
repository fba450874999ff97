# What a belayd that goes away asks of the one that took its place, over a socket pair: to carry out
# the calls of clients that are still connected to the old one. Both ends are the same machine's
# belayd, but of different versions: methods and fields are only ever added.
#
# Calls wait until the new one serves. Dropping a call gives it up there, too.

@0xb7c1d2a5e9f04836;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::criapi");
$Cxx.allowCancellation;

interface Successor {
  version @0 () -> (version :Text);
  # Of the new one.

  unary @1 (path :Text, request :Data) -> (code :UInt32, message :Text, reply :Data);
  # A gRPC call by its path, "/runtime.v1.RuntimeService/Version", with the encoded message. The
  # code is gRPC's, 0 for success; the reply counts only then.

  stream @2 (path :Text, request :Data, replies :Replies) -> (code :UInt32, message :Text);
  # The same for a server-streaming method: answered when the stream has ended.
}

interface Replies {
  write @0 (message :Data) -> stream;
}
