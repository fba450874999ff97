#!/usr/bin/python3
"""Times each CRI call of a pod's life, on belay and on containerd by turns, and weighs their processes.

usage: test/bench/pod-life.py --bin DIR [--peer-bin DIR] [--rounds N] [--network] [--pods N]
       test/bench/pod-life.py --endpoint unix://PATH --image REF [--rounds N]
  --bin       belay's programs
  --peer-bin  containerd, containerd-shim-runc-v2 and runc; without it belay runs alone
  --network   pods with a CNI network instead of the host's
  --pods      how many idle pods there are when memory and lists are measured (default 10)
  --endpoint  times any running CRI runtime that can pull REF

Both get the same image, limits and order of calls; they take turns pod by pod, so that a noisy machine
hurts both alike. Quote medians and ratios.
"""
import argparse
import collections
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cri import Cri, messages  # noqa: E402
from harness.environment import Environment, busybox_layer  # noqa: E402

CALLS = [
    "RunPodSandbox", "CreateContainer", "StartContainer", "ready (run+create+start)", "ExecSync",
    "ContainerStatus", "ListContainers", "StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox",
]
# With all idle pods there.
LISTS = ["ListContainerStats", "ListPodSandboxStats", "ListContainers", "ListPodSandbox"]
EXECS = 5


class Subject:
    """One runtime under the clock."""

    def __init__(self, name, cri, env):
        self.name, self.cri, self.env = name, cri, env
        self.times = collections.defaultdict(list)

    def timed(self, label, call):
        began = time.perf_counter()
        result = call()
        self.times[label].append((time.perf_counter() - began) * 1e3)
        return result

    def specs(self, host_network):
        pb, env = messages(), self.env
        config = env.pod_config(host_network=host_network)
        config.linux.cgroup_parent += self.name
        container = env.container_config(script="sleep 100000")
        context = container.linux.security_context
        context.namespace_options.network = config.linux.security_context.namespace_options.network
        context.seccomp.profile_type = pb.SecurityProfile.ProfileType.Value("RuntimeDefault")
        container.linux.resources.memory_limit_in_bytes = 64 << 20
        container.linux.resources.cpu_shares = 512
        os.makedirs(os.path.join(config.log_directory, "main"), exist_ok=True)
        return config, container

    def life(self, host_network):
        config, spec = self.specs(host_network)
        runtime = self.cri.runtime
        began = time.perf_counter()
        pod = self.timed("RunPodSandbox", lambda: runtime.RunPodSandbox(config=config)).pod_sandbox_id
        container = self.timed(
            "CreateContainer",
            lambda: runtime.CreateContainer(pod_sandbox_id=pod, config=spec, sandbox_config=config),
        ).container_id
        self.timed("StartContainer", lambda: runtime.StartContainer(container_id=container))
        self.times["ready (run+create+start)"].append((time.perf_counter() - began) * 1e3)
        for _ in range(EXECS):
            reply = self.timed(
                "ExecSync", lambda: runtime.ExecSync(container_id=container, cmd=["/bin/true"], timeout=10)
            )
            assert reply.exit_code == 0, reply
        self.timed("ContainerStatus", lambda: runtime.ContainerStatus(container_id=container))
        self.timed("ListContainers", lambda: runtime.ListContainers())
        self.timed("StopContainer", lambda: runtime.StopContainer(container_id=container, timeout=0))
        self.timed("RemoveContainer", lambda: runtime.RemoveContainer(container_id=container))
        self.timed("StopPodSandbox", lambda: runtime.StopPodSandbox(pod_sandbox_id=pod))
        self.timed("RemovePodSandbox", lambda: runtime.RemovePodSandbox(pod_sandbox_id=pod))

    def idle_pods(self, count, host_network):
        pods = []
        for _ in range(count):
            config, spec = self.specs(host_network)
            pod = self.cri.runtime.RunPodSandbox(config=config).pod_sandbox_id
            container = self.cri.runtime.CreateContainer(
                pod_sandbox_id=pod, config=spec, sandbox_config=config
            ).container_id
            self.cri.runtime.StartContainer(container_id=container)
            pods.append(pod)
        return pods

    def list_all(self, count):
        runtime = self.cri.runtime
        assert len(self.timed("ListContainerStats", runtime.ListContainerStats).stats) >= count
        assert len(self.timed("ListPodSandboxStats", runtime.ListPodSandboxStats).stats) >= count
        self.timed("ListContainers", runtime.ListContainers)
        self.timed("ListPodSandbox", runtime.ListPodSandbox)

    def remove(self, pods):
        for pod in pods:
            self.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
            self.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)


def memory(name, within):
    """[(PSS, private)] in KiB of every process of this program whose arguments hold `within`."""
    rows = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(arguments[0]) != name.encode():
                continue
            if within.encode() not in b" ".join(arguments):
                continue
            fields = dict(
                line.split(":") for line in (entry / "smaps_rollup").read_text().splitlines()[1:]
            )
        except OSError:
            continue
        size = lambda key: int(fields[key].split()[0])  # noqa: E731
        rows.append((size("Pss"), size("Private_Dirty") + size("Private_Clean")))
    return rows


def weigh(label, rows):
    if rows:
        pss = statistics.mean(row[0] for row in rows)
        private = statistics.mean(row[1] for row in rows)
        print(f"  {label:28} {len(rows):3} x  PSS {pss:9.0f} KiB   private {private:9.0f} KiB")


def report(subjects, calls):
    print(f"{'milliseconds':27}" + "".join(f"{s.name + ' p50':>16}{'p90':>9}" for s in subjects) + f"{'ratio':>9}")
    for call in calls:
        row, medians = f"{call:27}", []
        for subject in subjects:
            times = sorted(subject.times[call])
            medians.append(statistics.median(times))
            row += f"{medians[-1]:16.2f}{times[int(len(times) * 0.9)]:9.2f}"
        if len(medians) == 2:
            row += f"{medians[1] / medians[0]:9.1f}"
        print(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin")
    parser.add_argument("--peer-bin")
    parser.add_argument("--endpoint")
    parser.add_argument("--image")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pods", type=int, default=10)
    parser.add_argument("--network", action="store_true")
    arguments = parser.parse_args()
    if not arguments.bin and not arguments.endpoint:
        parser.error("say what to time: --bin or --endpoint")

    env = Environment(pathlib.Path(arguments.bin) if arguments.bin else None, arguments.endpoint)
    peer = None
    try:
        if arguments.image:
            env.image = arguments.image
        subjects = [Subject("belay" if arguments.bin else "endpoint", env.cri, env)]
        if arguments.peer_bin:
            from harness.peer import Containerd

            peer = Containerd(
                arguments.peer_bin, env.folder / "containerd", env.registry, env.folder / "certs.d",
                env.cni, busybox_layer(),
            )
            subjects.append(Subject("containerd", peer.cri, env))
        pb = messages()
        for subject in subjects:
            began = time.perf_counter()
            subject.cri.image.PullImage(image=pb.ImageSpec(image=env.image))
            print(f"{subject.name}: image pulled in {(time.perf_counter() - began) * 1e3:.0f} ms")
            for _ in range(3):
                subject.life(not arguments.network)
            subject.times.clear()
        for _ in range(arguments.rounds):
            for subject in subjects:
                subject.life(not arguments.network)
        network = "a CNI network" if arguments.network else "the host's network"
        print(f"\n{arguments.rounds} pods each, by turns, in {network}")
        report(subjects, CALLS)

        print(f"\nmemory with {arguments.pods} idle pods")
        idle = [(subject, subject.idle_pods(arguments.pods, not arguments.network)) for subject in subjects]
        if env.daemon:
            weigh("belayd", memory("belayd", str(env.folder)))
            weigh("belay-shim, one per pod", memory("belay-shim", str(env.folder)))
        if peer:
            weigh("containerd", memory("containerd", str(env.folder)))
            weigh("its shim, one per pod", memory("containerd-shim-runc-v2", str(peer.folder)))
            # The other part of a pod there: the process that holds its namespaces.
        for _ in range(arguments.rounds):
            for subject in subjects:
                subject.list_all(arguments.pods)
        print(f"\nlists with {arguments.pods} idle pods of one container each")
        report(subjects, LISTS)
        for subject, pods in idle:
            subject.remove(pods)
    finally:
        if peer:
            peer.stop()
        env.close()


if __name__ == "__main__":
    main()
