"""Limits that are changed while a container lives: all of a request or nothing of it, and for good."""
import json
import pathlib

import grpc

from harness import cgroups, waiting
from harness.case import Case

CGROUPS = pathlib.Path("/sys/fs/cgroup")
MIB = 1 << 20


def control_file(config, container, *names):
    """The contents of the first of `names` (v1's, v2's) that the container's cgroup has."""
    parent = config.linux.cgroup_parent.lstrip("/")
    # With the systemd driver the pod's scope is between them.
    below = f"*.scope/{container}" if cgroups.DRIVER == "systemd" else container
    for name in names:
        for hierarchy in [CGROUPS, *sorted(CGROUPS.iterdir())]:
            for file in (hierarchy / parent).glob(f"{below}/{name}"):
                return file.read_text().strip()
    raise AssertionError(f"no hierarchy has {names} of {container} below {parent}")


class ResourcesTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def update(self, container, **fields):
        self.env.cri.runtime.UpdateContainerResources(
            container_id=container, linux=self.pb.LinuxContainerResources(**fields)
        )

    def resources(self, container):
        return self.env.status(container).resources.linux

    def limited(self, script="sleep 1000"):
        """A container that was made with limits, not started yet."""
        env, pb = self.env, self.pb
        pod, config = env.run_pod(host_network=True)
        made = env.container_config(script=script)
        made.linux.resources.CopyFrom(
            pb.LinuxContainerResources(
                cpu_shares=512, cpu_period=100000, cpu_quota=50000, memory_limit_in_bytes=64 * MIB, oom_score_adj=500
            )
        )
        return pod, config, env.create(pod, config, made)

    def files(self, config, container):
        return {
            "memory": control_file(config, container, "memory.limit_in_bytes", "memory.max"),
            "swap": control_file(config, container, "memory.memsw.limit_in_bytes", "memory.swap.max"),
            "cpu": control_file(config, container, "cpu.cfs_quota_us", "cpu.max"),
            "weight": control_file(config, container, "cpu.shares", "cpu.weight"),
            "cpus": control_file(config, container, "cpuset.cpus"),
        }

    def wait_for_line(self, config, text):
        waiting.until(lambda: any(text == line for _, _, line in self.env.log_lines(config)), f"the line {text!r}")

    def test_a_running_containers_limits_change_in_the_kernel_and_in_its_status(self):
        env = self.env
        _, config, container = self.limited("sleep 1000 & sleep 1000")
        env.start(container)
        before = self.files(config, container)
        self.update(container, memory_limit_in_bytes=128 * MIB, cpu_quota=20000, cpuset_cpus="0")
        after = self.files(config, container)
        self.assertEqual(str(128 * MIB), after["memory"])
        self.assertIn(after["cpu"], ("20000", "20000 100000"))
        self.assertEqual("0", after["cpus"])
        self.assertEqual(before["weight"], after["weight"])

        shown = self.resources(container)
        self.assertEqual(
            (128 * MIB, 20000, 100000, 512, "0", 500),
            (shown.memory_limit_in_bytes, shown.cpu_quota, shown.cpu_period, shown.cpu_shares, shown.cpuset_cpus,
             shown.oom_score_adj),
        )

        self.update(container, memory_limit_in_bytes=32 * MIB, oom_score_adj=700)
        self.assertEqual(str(32 * MIB), self.files(config, container)["memory"])
        score = pathlib.Path(f"/proc/{env.pid(container)}/oom_score_adj").read_text()
        self.assertEqual("700\n", score)
        # What is run later in the container has it too.
        self.assertEqual("700", env.exec(container, "cat", "/proc/self/oom_score_adj")[1].strip())

    def test_a_created_container_starts_with_its_new_limits(self):
        env = self.env
        _, config, container = self.limited("cat /proc/self/oom_score_adj")
        self.update(container, memory_limit_in_bytes=16 * MIB, cpu_shares=1024, oom_score_adj=600)
        self.assertEqual(str(16 * MIB), self.files(config, container)["memory"])
        env.start(container)
        env.wait_exited(container)
        self.assertEqual([("stdout", "F", "600")], env.log_lines(config))
        self.assertEqual(1024, self.resources(container).cpu_shares)

    def test_one_refused_value_leaves_everything_as_it_was(self):
        env = self.env
        _, config, container = self.limited()
        env.start(container)
        before, shown = self.files(config, container), self.resources(container)
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "cpuset.cpus", "4000", "Numerical result out of range"):
            self.update(container, memory_limit_in_bytes=256 * MIB, cpu_shares=2048, oom_score_adj=900,
                        cpuset_cpus="4000")
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "memory_swap_limit_in_bytes"):
            self.update(container, memory_limit_in_bytes=256 * MIB, memory_swap_limit_in_bytes=MIB)
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "cgroup.procs"):
            self.update(container, cpu_shares=2048, unified={"cgroup.procs": "1"})
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "no.such"):
            self.update(container, cpu_shares=2048, unified={"no.such": "1"})
        self.assertEqual(before, self.files(config, container))
        self.assertEqual(shown, self.resources(container))

    def test_a_memory_limit_below_what_is_used_kills_nobody(self):
        env, pb = self.env, self.pb
        _, config, container = self.limited("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo up; sleep 1000; :")
        env.start(container)
        self.wait_for_line(config, "up")
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "memory"):
            self.update(container, memory_limit_in_bytes=4 * MIB)
        self.assertEqual(str(64 * MIB), self.files(config, container)["memory"])
        self.assertEqual(pb.CONTAINER_RUNNING, env.status(container).state)

    def test_new_limits_outlive_the_daemon(self):
        env = self.env
        _, _, container = self.limited()
        env.start(container)
        self.update(container, memory_limit_in_bytes=96 * MIB, cpu_shares=300)
        env.restart()
        shown = self.resources(container)
        self.assertEqual((96 * MIB, 300, 500), (shown.memory_limit_in_bytes, shown.cpu_shares, shown.oom_score_adj))
        self.update(container, cpu_shares=301)
        self.assertEqual(96 * MIB, self.resources(container).memory_limit_in_bytes)

    def test_what_has_exited_or_was_never_there_is_refused(self):
        env = self.env
        _, _, container = self.limited("true")
        env.start(container)
        env.wait_exited(container)
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, "has exited"):
            self.update(container, cpu_shares=2)
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "nosuch"):
            self.update("nosuch", cpu_shares=2)

    def test_a_pods_resources_are_remembered(self):
        env, pb = self.env, self.pb
        pod, _ = env.run_pod(host_network=True)
        env.cri.runtime.UpdatePodSandboxResources(
            pod_sandbox_id=pod, resources=pb.LinuxContainerResources(cpu_shares=77)
        )
        env.restart()
        info = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod, verbose=True).info["info"]
        self.assertEqual(77, json.loads(info)["config"]["linux"]["resources"]["cpu_shares"])
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, "not ready"):
            env.cri.runtime.UpdatePodSandboxResources(pod_sandbox_id=pod)
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "nosuch"):
            env.cri.runtime.UpdatePodSandboxResources(pod_sandbox_id="nosuch")

    def test_a_container_that_ran_out_of_memory_says_so(self):
        env = self.env
        _, _, container = self.limited("x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo survived")
        self.update(container, memory_limit_in_bytes=8 * MIB)
        env.start(container)
        status = env.wait_exited(container)
        self.assertEqual(("OOMKilled", 137), (status.reason, status.exit_code))
