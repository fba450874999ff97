"""What a container is given, and what it must not reach."""
import os

from harness import waiting
from harness.case import Case


class IsolationTest(Case):
    def running(self, pod=None, **fields):
        self.pod, self.config = pod or self.env.run_pod()
        container = self.env.create(self.pod, self.config, script="sleep 1000", **fields)
        self.env.start(container)
        return container

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def test_its_namespaces_are_not_the_hosts(self):
        container = self.running()
        # On cgroup v1 the peers leave containers in the host's cgroup namespace.
        cgroup = ["cgroup"] if self.env.daemon else []
        for kind in ["pid", "mnt", "ipc", "uts", "net", *cgroup]:
            self.assertNotEqual(
                os.readlink(f"/proc/self/ns/{kind}"), self.sh(container, f"readlink /proc/1/ns/{kind}"), kind
            )
        self.assertEqual("1", self.sh(container, "cat /proc/1/stat | cut -d' ' -f1"))

    def test_an_exec_is_in_the_same_namespaces(self):
        container = self.running()
        for kind in ("pid", "mnt", "ipc", "uts", "net", "cgroup"):
            self.assertEqual(
                self.sh(container, f"readlink /proc/1/ns/{kind}"),
                self.sh(container, f"readlink /proc/self/ns/{kind}"), kind,
            )

    def test_nothing_of_the_host_is_in_its_mounts_or_descriptors(self):
        container = self.running()
        mounts = self.sh(container, "cat /proc/1/mountinfo")
        own = str(self.env.folder)
        roots = [row.split()[3] for row in mounts.splitlines()]
        targets = [row.split()[4] for row in mounts.splitlines()]
        self.assertNotIn("/oldroot", targets)
        self.assertNotIn(own, "\n".join(targets))
        self.assertIn("/", targets)
        self.assertTrue(roots)
        for pid in ("1", "self"):
            fds = self.sh(container, f"ls -l /proc/{pid}/fd | sed 's/.*-> //'").splitlines()
            for target in fds:
                # Its own standard streams are named FIFOs of the shim's; nothing else of the host's.
                if target.endswith(("/stdin", "/stdout", "/stderr")):
                    continue
                self.assertNotIn(own, target)
                self.assertNotIn("socket:", target)

    def test_capabilities_are_the_usual_set(self):
        container = self.running()
        expected = "00000000a80425fb"
        for pid in ("1", "self"):
            status = self.sh(container, f"grep Cap /proc/{pid}/status")
            rows = dict(row.split(":\t") for row in status.splitlines())
            self.assertEqual(expected, rows["CapEff"], status)
            self.assertEqual(expected, rows["CapBnd"], status)
            self.assertEqual("0" * 16, rows["CapInh"], status)
            self.assertEqual("0" * 16, rows["CapAmb"], status)

    def test_capabilities_can_be_added_and_dropped(self):
        pb = self.pb
        context = pb.LinuxContainerSecurityContext(
            capabilities=pb.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["CHOWN"])
        )
        container = self.running(linux=pb.LinuxContainerConfig(security_context=context))
        effective = int(self.sh(container, "grep CapEff /proc/1/status").split()[1], 16)
        self.assertTrue(effective >> 12 & 1)
        self.assertFalse(effective & 1)

    def test_the_default_seccomp_profile_is_on_when_asked_for(self):
        pb = self.pb
        for profile, mode in (
            (pb.SecurityProfile.ProfileType.RuntimeDefault, "2"),
            (pb.SecurityProfile.ProfileType.Unconfined, "0"),
        ):
            context = pb.LinuxContainerSecurityContext(seccomp=pb.SecurityProfile(profile_type=profile))
            pod = self.env.run_pod()
            container = self.running(pod, linux=pb.LinuxContainerConfig(security_context=context))
            self.assertEqual(mode, self.sh(container, "grep Seccomp: /proc/1/status").split()[1])
            if mode == "2":
                self.assertEqual(mode, self.sh(container, "grep Seccomp: /proc/self/status").split()[1])
                self.assertIn("not permitted", self.sh(container, "unshare -m true 2>&1"))

    def test_masked_and_readonly_paths(self):
        pb = self.pb
        context = pb.LinuxContainerSecurityContext(
            masked_paths=["/proc/kcore", "/proc/scsi", "/sys/firmware", "/proc/keys"],
            readonly_paths=["/proc/sys", "/proc/bus"],
        )
        container = self.running(linux=pb.LinuxContainerConfig(security_context=context))
        self.assertEqual("0", self.sh(container, "cat /proc/keys | wc -c"))
        self.assertEqual("0", self.sh(container, "ls /sys/firmware | wc -l"))
        self.assertIn("Read-only", self.sh(container, "echo 1 2>&1 > /proc/sys/kernel/domainname"))

    def test_the_root_can_be_read_only(self):
        pb = self.pb
        context = pb.LinuxContainerSecurityContext(readonly_rootfs=True)
        container = self.running(linux=pb.LinuxContainerConfig(security_context=context))
        self.assertIn("Read-only", self.sh(container, "touch /file 2>&1"))
        self.assertEqual("", self.sh(container, "touch /dev/shm/file 2>&1"))

    def test_devices_are_the_usual_ones_and_work(self):
        container = self.running()
        self.assertEqual("0", self.sh(container, "head -c 10 /dev/null | wc -c"))
        self.assertEqual("10", self.sh(container, "head -c 10 /dev/urandom | wc -c"))
        names = self.sh(container, "ls /dev").split()
        self.assertLessEqual(
            {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd",
             "stdin", "stdout", "stderr"}, set(names),
        )
        self.assertNotIn("vda", names)
        self.assertIn("not permitted", self.sh(container, "mknod /tmp/sda b 254 0 && cat /tmp/sda 2>&1 | head -c 100"))

    def test_host_paths_are_mounted_as_asked(self):
        pb, env = self.pb, self.env
        folder = env.folder / "volume"
        folder.mkdir()
        (folder / "file").write_text("from the host\n")
        container = self.running(
            mounts=[
                pb.Mount(container_path="/rw", host_path=str(folder)),
                pb.Mount(container_path="/ro/deep", host_path=str(folder), readonly=True),
                pb.Mount(container_path="/one-file", host_path=str(folder / "file")),
            ]
        )
        self.assertEqual("from the host", self.sh(container, "cat /one-file"))
        self.sh(container, "echo written > /rw/new")
        self.assertEqual("written\n", (folder / "new").read_text())
        self.assertIn("Read-only", self.sh(container, "touch /ro/deep/x 2>&1"))

    def test_memory_beyond_the_limit_is_an_oom_kill(self):
        pb = self.pb
        pod, config = self.env.run_pod()
        resources = pb.LinuxContainerResources(memory_limit_in_bytes=20 << 20)
        container = self.env.create(
            pod, config, command=["/bin/tail", "/dev/zero"],
            linux=pb.LinuxContainerConfig(resources=resources),
        )
        self.env.start(container)
        status = self.env.wait_exited(container, 40)
        self.assertEqual("OOMKilled", status.reason)
        self.assertEqual(137, status.exit_code)

    def test_a_terminal_is_one(self):
        container = self.running(tty=True)
        self.assertIn("pts", self.sh(container, "readlink /proc/1/fd/0"))
        self.assertIn("console", self.sh(container, "ls /dev"))

    def test_stdin_without_one_asked_for_is_at_its_end(self):
        pod, config = self.env.run_pod(host_network=True)
        container = self.env.create(pod, config, script="cat; echo end")
        self.env.start(container)
        self.assertEqual(0, self.env.wait_exited(container).exit_code)
        waiting.until(lambda: self.env.log_lines(config) == [("stdout", "F", "end")], "the log's one line")
