"""Limits as the files of the container's cgroup have them, on whichever version the machine has."""
import os

import grpc

from harness import cgroups
from harness.case import Case


class LimitsTest(Case):
    def running(self, **resources):
        pb = self.pb
        devices = resources.pop("devices", [])
        pod, config = self.env.run_pod()
        container = self.env.create(
            pod, config, script="sleep 1000", devices=devices,
            linux=pb.LinuxContainerConfig(resources=pb.LinuxContainerResources(**resources)))
        self.env.start(container)
        self.pid = self.env.pid(container)
        return container

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def assertLimit(self, controller, v1, v2):
        """`v1` and `v2` are (file's name, text) for each version."""
        name, text = v2 if cgroups.is_v2_alone() else v1
        self.assertEqual(text, (cgroups.folder(self.pid, controller) / name).read_text().strip(), name)

    def test_memory_and_swap(self):
        self.running(memory_limit_in_bytes=64 << 20, memory_swap_limit_in_bytes=96 << 20)
        self.assertLimit("memory", ("memory.limit_in_bytes", str(64 << 20)), ("memory.max", str(64 << 20)))
        if cgroups.is_v2_alone() or (cgroups.folder(self.pid, "memory") / "memory.memsw.limit_in_bytes").exists():
            # v1 counts memory and swap together, v2 swap alone.
            self.assertLimit("memory", ("memory.memsw.limit_in_bytes", str(96 << 20)), ("memory.swap.max", str(32 << 20)))

    def test_no_swap_limit_means_no_swap(self):
        self.running(memory_limit_in_bytes=64 << 20)
        if cgroups.is_v2_alone():
            self.assertLimit("memory", None, ("memory.swap.max", "0"))
        self.assertLimit("memory", ("memory.limit_in_bytes", str(64 << 20)), ("memory.max", str(64 << 20)))

    def test_cpu(self):
        self.running(cpu_period=50000, cpu_quota=20000, cpu_shares=512)
        self.assertLimit("cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000"))
        self.assertLimit("cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000"))
        self.assertLimit("cpu", ("cpu.shares", "512"), ("cpu.weight", "59"))

    def test_cpuset(self):
        container = self.running(cpuset_cpus="0", cpuset_mems="0")
        self.assertLimit("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0"))
        self.assertLimit("cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0"))
        self.assertEqual("0", self.sh(container, "grep Cpus_allowed_list /proc/self/status | cut -f 2"))

    def test_huge_pages(self):
        if not cgroups.has("hugetlb") or not os.path.isdir("/sys/kernel/mm/hugepages/hugepages-2048kB"):
            self.skipTest("this machine does not count huge pages of 2 MiB")
        self.running(hugepage_limits=[self.pb.HugepageLimit(page_size="2MB", limit=4 << 20)])
        self.assertLimit("hugetlb", ("hugetlb.2MB.limit_in_bytes", str(4 << 20)), ("hugetlb.2MB.max", str(4 << 20)))

    def test_v2_files_by_name(self):
        if not cgroups.is_v2_alone():
            self.skipTest("this machine's controllers are on cgroup v1")
        unified = {"memory.high": str(48 << 20), "memory.oom.group": "1", "pids.max": "77"}
        self.running(unified=unified)
        for name, text in unified.items():
            self.assertLimit("memory", None, (name, text))

    def test_a_v2_file_that_is_not_there_is_named(self):
        self.only_belay()
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "memory.nonsense"):
            self.running(unified={"memory.nonsense": "1"})

    def test_a_container_sees_its_own_limits_at_the_root_of_its_view(self):
        container = self.running(memory_limit_in_bytes=64 << 20)
        v1, v2 = "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"
        path = v2 if cgroups.is_v2_alone() else v1
        # An exec as well as the container's first process, which looks with its own eyes.
        for root in ("", "/proc/1/root"):
            self.assertEqual(str(64 << 20), self.sh(container, f"cat {root}{path}"))
        if cgroups.is_v2_alone():
            self.assertEqual("0::/", self.sh(container, "cat /proc/1/cgroup"))

    def test_an_exec_counts_against_the_containers_limits(self):
        container = self.running(memory_limit_in_bytes=32 << 20)
        code, out, err = self.env.exec(container, "tail", "/dev/zero", timeout=60)
        self.assertNotEqual(0, code)
        name = "memory.events" if cgroups.is_v2_alone() else "memory.oom_control"
        events = (cgroups.folder(self.pid, "memory") / name).read_text()
        self.assertRegex(events, r"(?m)^oom_kill [1-9]")

    def test_devices(self):
        device = self.pb.Device(container_path="/dev/given", host_path="/dev/kmsg", permissions="w")
        container = self.running(devices=[device])
        # 1:1 is memory, 1:11 the kernel's log: written, not read; 1:3 everybody has.
        self.assertIn("not permitted", self.sh(container, "mknod /tmp/mem c 1 1; head -c 1 /tmp/mem 2>&1"))
        self.assertIn("not permitted", self.sh(container, "head -c 1 /dev/given 2>&1"))
        self.assertEqual("written", self.sh(container, "echo belay-test > /dev/given && echo written"))
        self.assertEqual("null", self.sh(container, "echo x > /dev/null && echo null"))
