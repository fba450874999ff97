# What belayctl asks of belayd, over STATE/admin.sock (root only). The CRI is for kubelet; this is for
# the person at the node: the same verbs without gRPC, and what the CRI has no words for.
#
# Failures are RPC exceptions whose text is "CODE: sentence". Ids may be prefixes. Dropping a call
# stops the waiting, not the work.

@0xed84260409566946;

using Cxx = import "/capnp/c++.capnp";
using Image = import "/snapshot/image.capnp";
using Model = import "/supervisor/model.capnp";
using ShimProtocol = import "/shim/shim.capnp";
$Cxx.namespace("belay::supervisor");
$Cxx.allowCancellation;

interface File {
  # A file descriptor on its way (getFd).
}

struct PodSummary {
  record @0 :Model.PodRecord;
  ready @1 :Bool;
}

struct ContainerSummary {
  record @0 :Model.ContainerRecord;
  state @1 :State;

  enum State {
    created @0;
    running @1;
    exited @2;
    unknown @3;
  }
}

struct OperationSummary {
  name @0 :Text;
  stage @1 :Text;
  # What is being done, as a verb phrase.
  runningMs @2 :UInt64;
  inStageMs @3 :UInt64;
}

struct UpgradedShim {
  podId @0 :Text;
  union {
    generation @1 :UInt32;
    # How many programs have run the pod before the present one.

    failure @2 :Text;
    # Why its shim is as it was.
  }
}

interface Admin {
  version @0 () -> (version :Text);

  operations @1 () -> (operations :List(OperationSummary));
  # What belayd is doing now, for who asks why something takes long.

  loadImage @2 (archive :File, tag :Text) -> (id :Text);
  # From an OCI image layout in a tar file, open for reading. The tag, when given, chooses one of
  # several images by name, or names one that has no name there.

  pullImage @3 (reference :Text) -> (id :Text);
  images @4 () -> (images :List(Image.Image));
  removeImage @5 (reference :Text) -> ();

  runPod @6 (config :Model.PodConfig, handler :Text) -> (id :Text);
  stopPod @7 (id :Text) -> ();
  removePod @8 (id :Text) -> ();
  pods @9 () -> (pods :List(PodSummary));

  createContainer @10 (podId :Text, config :Model.ContainerConfig) -> (id :Text);
  startContainer @11 (id :Text) -> ();
  stopContainer @12 (id :Text, timeoutSeconds :Int64) -> ();
  removeContainer @13 (id :Text) -> ();
  containers @14 () -> (containers :List(ContainerSummary));

  exec @15 (id :Text, command :List(Text), timeoutSeconds :Int64)
      -> (exitCode :Int32, output :File, errors :File);
  # Output and errors are memory files. timeoutSeconds 0: no limit.

  debug @16 (podId :Text, failpoint :Text, action :Text)
      -> (failpoints :List(ShimProtocol.Failpoint));
  # Sets a failpoint, unless the name is empty, and answers all: those of a pod's shim, or without a pod
  # belayd's own ("belayd.") and what it has been told to hand on to the processes that it starts.

  upgrade @17 (program :Text) -> (before :Text, after :Text);
  # Has belayd become the program, or what is at its own path when that is empty: the same process,
  # which no client loses. Answered, with both versions, once the new one serves; an error while the
  # old one goes on, unless it is DISCONNECTED, which is the new one's end.

  upgradeShims @18 (podIds :List(Text)) -> (results :List(UpgradedShim));
  # Has each pod's shim execute the configured belay-shim in its place; without ids those of all pods
  # that have one. What cannot be done for one is said of that one.
}
