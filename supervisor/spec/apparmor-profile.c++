// The default AppArmor profile.
#include "supervisor/spec/apparmor.h"

namespace belay::supervisor {

// Wide, as a container is confined by much else. It keeps from containers, also from those with
// capabilities, what acts on the whole machine: the kernel's parameters and devices below /proc and
// /sys, mounts, and processes outside as objects of signals and traces.
//
// attach_disconnected: the standard streams are files of the host's, which have no path below the
// container's root; without it a program could not open /dev/stdout again.
kj::StringPtr AppArmor::defaultText() {
  return R"(
profile belay-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (send,receive) peer=belay-default,
  ptrace (read,trace,readby,tracedby) peer=belay-default,
  ptrace (readby,tracedby) peer=unconfined,

  deny mount,

  # Of the parameters, fs.mqueue, kernel.msg*, kernel.sem, kernel.shm* and net belong to the pod.
  deny /proc/sys/{abi,crypto,debug,dev,sunrpc,user,vm}/** w,
  deny /proc/sys/fs/[^m]** w,
  deny /proc/sys/kernel/[^ms]** w,
  deny /proc/sys/kernel/{modprobe,modules_disabled,sched*,seccomp/**,soft*,stack*,sysctl*,sysrq} w,

  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** w,
  deny /proc/{kcore,kmsg,kpagecgroup,kpagecount,kpageflags,sysrq-trigger} rwklx,

  deny /sys/{block,bus,class,dev,devices,hypervisor,kernel,module,power}/** wkl,
  deny /sys/fs/[^c]** wkl,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
)";
}

}  // namespace belay::supervisor
