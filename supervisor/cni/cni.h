// The pods' networks, by CNI plug-ins (CNI specification 1.1.0, also 0.3.0 to 1.0.0): reads the
// network configuration lists, runs ADD and DEL, and says whether the network is ready. Only eth0
// of each pod is made here; lo is up before, by whoever made the namespace.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "snapshot/sys/child.h"
#include "snapshot/sys/helper-place.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

struct CniOptions {
  kj::String confDir;
  kj::Array<kj::String> binDirs;  // absolute, without ':' (CNI_PATH), searched in order
  kj::Duration pluginTimeout;     // for each run of a plug-in
  kj::String marks;               // folder of AttachmentMarks
};

// What the condition NetworkReady of the CRI's Status says.
struct NetworkReadiness {
  bool ready;
  kj::String reason;   // one CamelCase word, empty when ready: "NoNetworkConfig"
  kj::String message;  // one sentence naming folder, file and cause; empty when ready
  kj::String network;  // name of the network in use, when there is one
};

class Cni {
 public:
  // Everything given by reference outlives this object. Plug-ins live in `place`, if it is given,
  // and none is run before it is free.
  Cni(CniOptions options, snapshot::Children& children, kj::Timer& timer,
      kj::Maybe<snapshot::HelperPlace&> place = nullptr);
  ~Cni() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Cni);

  // Reads the configuration folder anew: the first file by name counts, so that a broken one is
  // reported rather than another network silently used. Networks of CNI 1.1.0 are also asked by
  // STATUS. Does not throw.
  kj::Promise<NetworkReadiness> status();

  // All that DEL will need for this pod, with `added` set: record it, then call add(). Reads the
  // configuration folder; runs nothing. FAILED_PRECONDITION when there is no usable network, or
  // one of its plug-ins is not there.
  // `netnsPath` is CNI_NETNS; `podId` is CNI_CONTAINERID.
  Owned<NetworkAttachment> prepare(kj::StringPtr podId, PodConfig::Reader pod,
                                   kj::StringPtr netnsPath);

  // Runs ADD for each plug-in of the attachment's own list; the answer is the attachment with
  // result and ips (at least one). The network namespace must exist. On any failure, and when the
  // promise is dropped (plug-ins are killed then), the pod may be half attached: call del().
  // Failures: DEADLINE_EXCEEDED after pluginTimeout, FAILED_PRECONDITION for a missing plug-in,
  // UNAVAILABLE when a plug-in says "try again later", else INTERNAL with its words.
  kj::Promise<Owned<NetworkAttachment>> add(Owned<NetworkAttachment> attachment);

  // Runs DEL for each plug-in in reverse order, from what was recorded, whatever the folder holds
  // now. Works after a failed ADD and with the namespace gone; may be repeated. One plug-in's
  // failure does not keep the others from running; the failures are thrown together at the end.
  // Nothing is done for an attachment that was never begun.
  kj::Promise<void> del(Owned<NetworkAttachment> attachment);

  // Ids of the pods that add() was called for and del() not, or in vain: by what is on the disk,
  // also of those that no record knows (attachment-marks.h).
  kj::Array<kj::String> attached();

  // As del() for a pod that no record knows, by its id alone and the network that is configured
  // now. FAILED_PRECONDITION when there is none.
  kj::Promise<void> release(kj::StringPtr podId);

  // Runs CHECK (0.4.0 and later; else done at once): is the attachment still in place? Throws if
  // not.
  kj::Promise<void> check(Owned<NetworkAttachment> attachment);

 private:
  struct Impl;
  kj::Own<Impl> impl;
};

}  // namespace belay::supervisor
