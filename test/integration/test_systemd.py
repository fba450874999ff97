"""Pods in scopes that systemd makes: belayd with cgroup_driver = "systemd" (scripts/test vm)."""
import os
import pathlib
import shutil
import signal
import subprocess

import grpc

from harness import cgroups, leaks, waiting
from harness.case import Case


def systemctl(*arguments):
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=True).stdout.strip()


class DriverTest(Case):
    def test_runtime_config_answers_what_is_set(self):
        self.only_belay()
        driver = self.env.cri.runtime.RuntimeConfig().linux.cgroup_driver
        self.assertEqual(cgroups.DRIVER.upper(), self.pb.CgroupDriver.Name(driver))

    def test_a_machine_without_systemd_is_told_at_the_start(self):
        self.only_belay()
        if os.path.isdir("/run/systemd/system") and cgroups.is_v2_alone():
            self.skipTest("this machine fits the driver")
        folder = self.env.folder / "no-systemd"
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        # Of its own: belayd ends what it finds in its cgroups.
        root = f"{self.env.mark}-no-systemd"
        self.addCleanup(lambda: [os.rmdir(path) for path in sorted(leaks.cgroups(root), reverse=True)])
        command = [self.env.daemon.programs / "belayd", "--cgroup-driver", "systemd", "--root", folder / "root",
                   "--state", folder / "state", "--cgroup-root", root]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        self.assertNotEqual(0, done.returncode)
        self.assertRegex(done.stderr, r'cgroup_driver is "systemd", .* set "cgroupfs"')


class SystemdTest(Case):
    def setUp(self):
        if cgroups.DRIVER != "systemd":
            self.skipTest("about the systemd cgroup driver")
        super().setUp()
        self.only_belay()

    def running(self, pod=None, script="sleep 1000", **resources):
        sandbox, config = pod or self.env.run_pod()
        container = self.env.create(
            sandbox, config, script=script,
            linux=self.pb.LinuxContainerConfig(resources=self.pb.LinuxContainerResources(**resources)))
        self.env.start(container)
        return sandbox, config, container

    def scope(self, pod):
        return f"{self.env.mark}-{pod}.scope"

    def show(self, pod, *names):
        text = systemctl("show", self.scope(pod), *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in text.splitlines())

    def keeper(self, pod):
        procs = cgroups.ROOT / self.show(pod, "ControlGroup")["ControlGroup"][1:] / "keeper/cgroup.procs"
        return int(procs.read_text())

    def assert_alive(self, container):
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))

    def test_a_pod_is_a_delegated_scope_in_its_clients_slice(self):
        pod, config, container = self.running()
        self.assertEqual(
            {"ActiveState": "active", "Delegate": "yes", "TasksMax": "infinity",
             "Slice": os.path.basename(config.linux.cgroup_parent),
             "ControlGroup": f"{config.linux.cgroup_parent}/{self.scope(pod)}"},
            self.show(pod, "ActiveState", "Delegate", "TasksMax", "Slice", "ControlGroup"))
        path = pathlib.Path(f"/proc/{self.env.pid(container)}/cgroup").read_text().strip()
        self.assertEqual(f"0::{config.linux.cgroup_parent}/{self.scope(pod)}/{container}", path)
        self.assert_alive(container)
        self.env.remove_pod(pod)
        waiting.until(lambda: self.show(pod, "LoadState")["LoadState"] == "not-found", "systemd forgets the scope")

    def test_a_slice_of_many_levels_and_one_by_its_name_alone(self):
        for parent in (cgroups.slice_path(self.env.mark + "-deep-er.slice"), self.env.mark + "-deep-est.slice"):
            config = self.env.pod_config()
            config.linux.cgroup_parent = parent
            pod, _, container = self.running(self.env.run_pod(config))
            self.assertEqual(os.path.basename(parent), self.show(pod, "Slice")["Slice"])
            self.assert_alive(container)
            self.env.remove_pod(pod)
        # As the kubelet does with its pods' slices.
        systemctl("stop", self.env.mark + "-deep.slice")

    def test_parents_that_are_no_slices_are_refused(self):
        for parent in ("/kubepods/burstable/podU", "/kubepods-burstable.slice", "/a.slice/b.slice"):
            config = self.env.pod_config()
            config.linux.cgroup_parent = parent
            with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "linux.cgroup_parent", parent):
                self.env.run_pod(config)

    def test_limits_survive_a_reload_of_systemd(self):
        _, _, container = self.running(memory_limit_in_bytes=64 << 20, cpu_shares=512, cpu_quota=50000,
                                       unified={"pids.max": "77"})
        folder = cgroups.folder(self.env.pid(container), "memory")
        limits = {"memory.max": str(64 << 20), "cpu.weight": "59", "cpu.max": "50000 100000", "pids.max": "77"}
        for step in ("daemon-reload", "daemon-reexec"):
            systemctl(step)
            self.assertEqual(limits, {name: (folder / name).read_text().strip() for name in limits}, step)
        self.assert_alive(container)

    def test_an_oom_kill_is_always_seen(self):
        """Also of the only container, whose cgroup is empty then."""
        for attempt in range(10):
            pod, _, container = self.running(script="exec tail /dev/zero", memory_limit_in_bytes=16 << 20)
            status = self.env.wait_exited(container, 60)
            self.assertEqual(("OOMKilled", 137), (status.reason, status.exit_code), attempt)
            # Its pod lives on.
            self.assertEqual("active", self.show(pod, "ActiveState")["ActiveState"])
            self.env.remove_pod(pod)

    def test_scopes_outlive_belayd(self):
        pod, config, container = self.running()
        before = self.show(pod, "InvocationID", "ActiveEnterTimestampMonotonic")
        self.restart()
        self.assert_alive(container)
        self.assertEqual(before, self.show(pod, "InvocationID", "ActiveEnterTimestampMonotonic"))
        second = self.env.create(pod, config, name="second", script="sleep 1000")
        self.env.start(second)
        self.assert_alive(second)
        self.env.remove_pod(pod)
        self.base.daemon_pid = None
        self.base.processes.add(self.env.daemon.process.pid)
        self.base.check()

    def test_the_shim_is_outside_the_pods_limit(self):
        self.running()
        shim, = self.env.daemon.shims()
        self.assertIn(f"0::/{self.env.mark}/shims/", pathlib.Path(f"/proc/{shim}/cgroup").read_text())

    def test_a_pod_whose_keeper_was_killed_gets_another(self):
        for kept_by_container in (True, False):
            pod, config, container = self.running()
            if not kept_by_container:
                self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
            os.kill(self.keeper(pod), signal.SIGKILL)
            if not kept_by_container:
                waiting.until(lambda: self.show(pod, "LoadState")["LoadState"] == "not-found", "the scope ends")
            second = self.env.create(pod, config, name="second", script="sleep 1000")
            self.env.start(second)
            self.assert_alive(second)
            self.keeper(pod)
            self.assertEqual("active", self.show(pod, "ActiveState")["ActiveState"])
            self.env.remove_pod(pod)

    def test_a_scope_that_somebody_stops_ends_the_pods_containers(self):
        pod, _, container = self.running(script="trap 'exit 3' TERM; while :; do sleep 0.05; done")
        systemctl("stop", self.scope(pod))
        self.assertEqual(3, self.env.wait_exited(container).exit_code)

    def test_without_the_bus_a_pod_fails_with_a_sentence_and_nothing_is_left(self):
        systemctl("stop", "dbus.socket", "dbus.service")
        self.addCleanup(systemctl, "start", "dbus.socket")
        with self.assertCode(grpc.StatusCode.UNAVAILABLE, "the system bus", "dbus.socket"):
            self.env.run_pod()
        self.base.check()
