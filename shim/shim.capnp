# The protocol between the supervisor (belayd) and the shim of one pod (belay-shim).
#
# A shim lives exactly as long as its pod; supervisors come and go. The supervisor that starts a shim
# hands it an already connected socket as fd 3; every later one connects to "shim.sock" in the pod's
# directory (/run/belay/pods/ID), reached through a directory fd because socket paths are short.
# Either way the bootstrap capability is a Shim. Several connections at once are fine (a successor of
# the daemon may meet the shim before its predecessor's socket is seen closed): all see the same pod.
#
# A pod outlives its shim. When one was killed, the supervisor starts another in the same directory and
# lets it adopt what the dead one left: namespaces from their pins, containers by their cgroups and
# pidfds, streams from FIFOs and spools. A shim holds a lock on the file "lock" there (fcntl(2),
# F_SETLK) as long as it lives, so that there are never two.
#
# Rules for both sides:
#  - Dropping a connection or a capability never harms the pod. Only calls change it.
#  - A call that cannot be done answers with a Failure, as a value. RPC exceptions mean that the
#    connection or one of the programs is broken.
#  - Every state-changing call may be repeated: it then answers with what the first one reached.
#  - File descriptors travel as File capabilities (getFd); connections must allow at least
#    16 of them per message. The receiver duplicates what it keeps.
#  - What was written to an exit or state record on disk has been written before anybody is told.

# Old and new: protocolVersion counts up with every change of this file or of spec.capnp.
#  - Fields, union members, enumerants and methods are only ever added, at the end; none is removed,
#    renumbered or given another meaning. What is new is off when its field is not set.
#  - A shim serves supervisors older and newer than itself. A supervisor reads protocolVersion first and
#    asks an older shim for nothing it cannot do; a method that is not there is answered UNIMPLEMENTED.
#  - A shim goes on from the records (ShimRecord, and a container's "spec") of shims that are as old as
#    itself or older, and refuses those of newer ones: going back is not supported.
#  - The files of stdio/ (spool, log position) belong to the records: one that is changed gets another
#    magic number, and the old one is understood, too.

@0xbabdddbc448da4c1;

using Cxx = import "/capnp/c++.capnp";
using Spec = import "/shim/spec.capnp";
$Cxx.namespace("belay::shim");
$Cxx.allowCancellation;

const protocolVersion :UInt32 = 2;

struct Failure {
  # Why something could not be done, so that a person knows what to do.

  code @0 :Code;
  step @1 :Text;
  # What was being done, as a verb phrase: "mount the rootfs".

  object @2 :Text;
  # What it was done to: a path, a cgroup, a user name.

  errno @3 :Int32;
  # 0 when no system call failed.

  message @4 :Text;
  # One whole sentence, holding step, object and errno's text.

  enum Code {
    internal @0;
    invalidArgument @1;
    notFound @2;
    alreadyExists @3;
    failedPrecondition @4;
    deadlineExceeded @5;
    resourceExhausted @6;
  }
}

struct Outcome {
  # Of a call with nothing else to tell.
  union {
    done @0 :Void;
    failed @1 :Failure;
  }
}

enum Stage {
  # A container's life. There is no way back.
  created @0;
  # Everything is set up; the child waits before execve.

  running @1;
  exited @2;
}

struct Exit {
  code @0 :Int32;
  # Exit code, or 128 + signal.

  signal @1 :Int32;
  # 0 unless it died by a signal.

  oomKilled @2 :Bool;
  finishedAtNs @3 :Int64;
  # CLOCK_REALTIME.

  known @4 :Bool = true;
  # False when nobody could learn the code any more; code is then 255.

  reason @5 :Text;
  # Empty, or why it never ran: "StartError".

  message @6 :Text;
}

struct ContainerState {
  id @0 :Text;
  stage @1 :Stage;
  pid @2 :Int32;
  # In the host's pid namespace; 0 once it is reaped.

  createdAtNs @3 :Int64;
  startedAtNs @4 :Int64;
  exit @5 :Exit;
  # Set when stage is exited.

  user @6 :ResolvedUser;
  logPath @7 :Text;

  stopSignalsSent @8 :UInt64;
  # Bit n: stop() has sent signal n; it is sent once only.
}

struct ResolvedUser {
  uid @0 :UInt32;
  gid @1 :UInt32;
  groups @2 :List(UInt32);
}

struct PodState {
  id @0 :Text;
  created @1 :Bool;
  # createPod has succeeded.

  createdAtNs @2 :Int64;
  containers @3 :List(ContainerState);
  netnsPath @4 :Text;
}

struct ShimRecord {
  # The file "state" in the pod's directory, replaced by rename whenever something changes: what a
  # successor of the shim, or a supervisor that finds the shim dead, goes by.
  protocolVersion @0 :UInt32;
  shimPid @1 :Int32;
  bootId @2 :Text;
  pod @3 :PodState;
  spec @4 :Spec.PodSpec;

  madeCgroup @5 :Bool;
  # The pod's cgroup was not there before: it goes with the pod.

  generation @6 :UInt32;
  # How many programs have run the pod before this one.
}

struct OrphanExit {
  # How a process ended that a dead shim left to the supervisor, which has reaped it.
  pid @0 :Int32;
  # In the host's pid namespace.

  code @1 :Int32;
  # Exit code, or 128 + signal.

  signal @2 :Int32;
  finishedAtNs @3 :Int64;
}

interface File {
  # A file descriptor on its way (getFd). Dropping it closes the sender's copy.
}

struct Failpoint {
  name @0 :Text;
  action @1 :Text;
  # "off", or what is to be done at one of the next passes.

  passes @2 :UInt32;
  # Since it was set.
}

interface Shim {
  info @0 () -> (protocolVersion :UInt32, version :Text, pid :Int32, podId :Text,
                 generation :UInt32);
  # generation: ShimRecord's.

  createPod @1 (spec :Spec.PodSpec) -> (outcome :Outcome, state :PodState);
  # Makes and pins the pod's namespaces and its cgroup. Repeated with the same id: answers the state.

  state @2 () -> (state :PodState);

  createContainer @3 (spec :Spec.ContainerSpec) -> (outcome :Outcome, container :Container);
  # Everything up to execve: cgroup, namespaces, mounts, user; the child then waits at its gate.
  # Cancelling it, or a failure, leaves nothing behind. Repeated with the same id: the same container.

  container @4 (id :Text) -> (outcome :Outcome, container :Container);
  # notFound if there is none.

  watch @5 (watcher :Watcher) -> ();
  # The watcher is told of every change from now on, and first of all exits that happened before, so
  # that nothing falls between state() and watch(). Ends with the connection.

  descriptors @6 () -> (descriptors :List(Descriptor));
  # Duplicates of what must not die with a killed shim: FIFO read ends, pty masters, open stdin write
  # ends, the gates of containers that have not been started, pidfds. The supervisor keeps them
  # (kernel-enforced truth: a FIFO's unread bytes live as long as any reader).

  removePod @7 () -> (outcome :Outcome);
  # Kills what still runs, removes containers, namespaces, pins and cgroups, answers, and exits.

  portForward @8 () -> (outcome :Outcome, session :File);
  # A session's socket (session.capnp) for any number of connections into the pod's network namespace.

  usage @9 (pod :Bool) -> (outcome :Outcome, pod :PodUsage, containers :List(ContainerUsage));
  # What the pod's running containers use, and with `pod` what the pod as a whole does: read from the
  # kernel for this call. What the kernel does not count on this machine is unknown, not a failure.

  debug @10 (failpoint :Text, action :Text) -> (outcome :Outcome, failpoints :List(Failpoint));
  # Sets one of this process's failpoints (shim/failpoint/failpoint.h has the actions), unless the name is
  # empty, and answers all of them.

  inherit @11 (descriptors :List(Descriptor)) -> ();
  # Before adopt, any number of times: what the supervisor has kept of a dead shim's descriptors.

  adopt @12 (exits :List(OrphanExit)) -> (outcome :Outcome, state :PodState);
  # In place of createPod: takes over the pod that a dead shim's record in the directory describes,
  # with all containers of it; what that shim was in the middle of making or removing is removed.
  # `exits` are those that the supervisor knows of. failedPrecondition when there is no such record,
  # when it is of another boot, or a newer shim's. A failure leaves everything as it is. Repeated:
  # answers the state.

  orphanExited @13 (exit :OrphanExit) -> ();
  # Of an adopted container's process, when the supervisor reaps it later.

  upgrade @14 (program :File, limitMs :UInt32) -> (outcome :Outcome);
  # Executes another belay-shim in this process (handover.capnp), with children, descriptors and
  # sessions: the answer is that the connection ends, and info.generation has grown in the next one.
  # An outcome comes only when it was not done, and everything is as it was: failedPrecondition if
  # the program says that it cannot go on from here, deadlineExceeded if something was under way all
  # the while that would have been cut off. The supervisor makes no other call until it knows.

  struct Descriptor {
    name @0 :Text;
    # "<container id>/stdout", ".../stderr", ".../stdin", ".../pty", ".../gate", ".../pidfd".
    file @1 :File;
  }
}

const unknown :UInt64 = 0xffffffffffffffff;
# In place of a number that the kernel does not give, or of a limit that is not set.

struct CgroupUsage {
  # Of a cgroup with all below it.

  timeNs @0 :Int64;
  # CLOCK_REALTIME when it was read; never before that of an earlier answer.

  cpuNs @1 :UInt64 = .unknown;
  # Since the cgroup was made, all CPUs together.

  cpuNsPerSecond @2 :UInt64 = .unknown;
  # Since the last answer that is a second old or older; at first since the container's start.

  memoryBytes @3 :UInt64 = .unknown;
  workingSetBytes @4 :UInt64 = .unknown;
  # Without the file pages that were not used lately.

  memoryLimitBytes @5 :UInt64 = .unknown;
  anonymousBytes @6 :UInt64 = .unknown;
  pageFaults @7 :UInt64 = .unknown;
  majorPageFaults @8 :UInt64 = .unknown;
  swapBytes @9 :UInt64 = .unknown;
  swapLimitBytes @10 :UInt64 = .unknown;
  # Of swap alone, without memory.

  tasks @11 :UInt64 = .unknown;
  # Processes and threads.

  cpuPressure @12 :Pressure;
  memoryPressure @13 :Pressure;
  ioPressure @14 :Pressure;
  # Null where the kernel has none (PSI).
}

struct Pressure {
  # Of PSI: how long tasks waited.
  some @0 :Line;
  full @1 :Line;

  struct Line {
    average10 @0 :Float64;
    average60 @1 :Float64;
    average300 @2 :Float64;
    # Per cent over as many seconds.

    totalUs @3 :UInt64;
  }
}

struct ContainerUsage {
  id @0 :Text;
  cgroup @1 :CgroupUsage;
}

struct PodUsage {
  cgroup @0 :CgroupUsage;
  # Of the pod's cgroup: its containers and the pod's own.

  interfaces @1 :List(InterfaceUsage);
  # Of the pod's own network namespace, but for the loopback interface; at most 64 of them. Empty for
  # a pod on the host's network.
}

struct InterfaceUsage {
  name @0 :Data;
  rxBytes @1 :UInt64;
  rxErrors @2 :UInt64;
  txBytes @3 :UInt64;
  txErrors @4 :UInt64;
}

interface Watcher {
  # Implemented by the supervisor.
  changed @0 (state :ContainerState) -> ();
  descriptors @1 (descriptors :List(Shim.Descriptor)) -> ();
  # A container came: its descriptors. A name seen before is replaced; one that comes without a file
  # is to be closed, for the container is to see the end of it (stdin_once).
}

interface Container {
  # One container of the pod. Dropping the capability means nothing.

  state @0 () -> (state :ContainerState);

  start @1 () -> (outcome :Outcome);
  # Lets the child go on, and answers once execve succeeded (the gate closed on exec) or failed: then
  # the container is exited with code 127 or 126 (not found, not executable), reason StartError.
  # failedPrecondition unless created (running: done).

  stop @2 (signal :Int32, graceMs :UInt64) -> (outcome :Outcome);
  # Sends the signal to the first process, waits graceMs for the container to exit, then kills its
  # whole cgroup. graceMs 0 kills at once. Answers once it is exited and recorded. A second call with a
  # shorter time wins over the first; both are answered. Done at once if it is not running. Cancelling
  # the call stops the waiting, not what was sent.

  wait @3 () -> (exit :Exit);
  # When the container has exited.

  execSync @4 (process :Spec.ProcessSpec, timeoutMs :UInt64, maxBytes :UInt64)
      -> (outcome :Outcome, exitCode :Int32, stdout :File, stderr :File, timedOut :Bool);
  # Runs a process in the container and waits for it; timeoutMs 0 waits for ever. Output goes to two
  # sealed memory files of at most maxBytes each; what is more is dropped while the pipe is drained. At
  # the time-out, or when the call is cancelled, every process that the exec started is killed.
  # Descendants that keep the output open after the process ended are waited for a second at most.

  reopenLog @5 () -> (outcome :Outcome);
  # Opens the log path anew and writes there from the next record on. On failure the old file stays in
  # use and no new one is left. failedPrecondition unless running.

  remove @6 () -> (outcome :Outcome);
  # Kills it if it runs, then takes away cgroup, FIFOs, records and mounts. Afterwards the capability
  # answers notFound, but for remove itself, which is done.

  descriptors @7 () -> (descriptors :List(Shim.Descriptor));

  signal @8 (signal :Int32) -> (outcome :Outcome);
  # To the first process alone.

  exec @9 (process :Spec.ProcessSpec, stdin :Bool, stdout :Bool, stderr :Bool)
      -> (outcome :Outcome, session :File);
  # A session's socket (session.capnp) for one process, which runs when the session says start. With a
  # terminal (process.terminal) stderr must be false. failedPrecondition unless running. Dropping the
  # socket before start means that nothing is run.

  attach @10 (stdin :Bool, stdout :Bool, stderr :Bool) -> (outcome :Outcome, session :File);
  # A session's socket for the container's own streams, from its start on; nothing written earlier is
  # repeated. Any number of them at once. A stream that the container has not got is an
  # invalidArgument. failedPrecondition unless running.

  updateResources @11 (resources :Spec.Resources, oomScoreAdj :Int32, setOomScoreAdj :Bool)
      -> (outcome :Outcome);
  # Writes the limits that are set, and lets the others be; with setOomScoreAdj that of every process
  # of the container. All or nothing: if the kernel refuses one value, everything is as it was, and
  # the answer is an invalidArgument naming file, value and errno. failedPrecondition once exited.
}
