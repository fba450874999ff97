"""What clients mount into containers: propagation, protection, sources that lead elsewhere or hang."""
import ctypes
import os
import pathlib
import shutil
import stat
import subprocess

import grpc

from harness import waiting
from harness.case import Case
from harness.registry import Image, Layer

INVALID = grpc.StatusCode.INVALID_ARGUMENT


class MountTest(Case):
    def setUp(self):
        super().setUp()
        self.volume = self.env.folder / "volume-of-mounts"
        self.volume.mkdir()
        self.addCleanup(shutil.rmtree, self.volume)

    def host_mount(self, path, *arguments):
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", *arguments, str(path)], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(path)], check=True)

    def shared(self, name="shared"):
        """A volume that is a mount of its own, shared as systemd's are."""
        path = self.volume / name
        self.host_mount(path, "-t", "tmpfs", "none")
        subprocess.run(["mount", "--make-rshared", str(path)], check=True)
        (path / "sub").mkdir()
        return path

    def mount(self, place, source=None, propagation="PRIVATE", **fields):
        return self.pb.Mount(
            container_path=place, host_path=str(source or self.volume),
            propagation=self.pb.MountPropagation.Value(f"PROPAGATION_{propagation}"), **fields
        )

    def running(self, *mounts, pod=None, script="sleep 1000", **fields):
        self.pod, self.config = pod or self.env.run_pod()
        container = self.env.create(self.pod, self.config, script=script, mounts=mounts, **fields)
        self.env.start(container)
        return container

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def refused(self, code, words, *mounts):
        with self.assertCode(code, *words):
            self.running(*mounts)

    # --- propagation

    def test_mounts_of_the_host_reach_a_slave_and_no_private_one(self):
        source = self.shared()
        container = self.running(
            self.mount("/slave", source, "HOST_TO_CONTAINER"), self.mount("/private", source)
        )
        self.host_mount(source / "sub", "-t", "tmpfs", "none")
        (source / "sub" / "late").touch()
        self.assertEqual("late", self.sh(container, "ls /slave/sub /private/sub | grep late"))
        self.assertEqual("", self.sh(container, "ls /private/sub"))

    def test_mounts_of_the_container_reach_the_host_if_both_ways(self):
        source = self.shared()
        config = self.env.pod_config()
        config.linux.security_context.privileged = True
        linux = self.pb.LinuxContainerConfig(
            security_context=self.pb.LinuxContainerSecurityContext(privileged=True)
        )
        container = self.running(
            self.mount("/both", source, "BIDIRECTIONAL"), pod=self.env.run_pod(config), linux=linux
        )
        self.assertEqual("", self.sh(container, "mount -t tmpfs none /both/sub && touch /both/sub/inner"))
        self.assertTrue((source / "sub" / "inner").exists())
        self.sh(container, "umount /both/sub")
        self.assertFalse((source / "sub" / "inner").exists())

    def test_a_source_must_be_able_to_propagate(self):
        source = self.shared()
        subprocess.run(["mount", "--make-private", str(source)], check=True)
        precondition = grpc.StatusCode.FAILED_PRECONDITION
        for propagation, words in (
            ("BIDIRECTIONAL", "but it is not a shared mount"),
            ("HOST_TO_CONTAINER", "but it is not a shared or slave mount"),
        ):
            self.refused(precondition, [f"mounted on {source}", words], self.mount("/data", source, propagation))

    # --- protection

    def test_recursive_read_only_reaches_what_is_mounted_below(self):
        source = self.shared()
        self.host_mount(source / "sub", "-t", "tmpfs", "none")
        container = self.running(
            self.mount("/flat", source, readonly=True),
            self.mount("/deep", source, readonly=True, recursive_read_only=True),
        )
        self.assertIn("Read-only", self.sh(container, "touch /flat/x 2>&1"))
        self.assertEqual("", self.sh(container, "touch /flat/sub/x 2>&1"))
        self.assertIn("Read-only", self.sh(container, "touch /deep/sub/y 2>&1"))
        self.assertTrue(any(m.recursive_read_only for m in self.env.status(container).mounts))

    def test_recursive_read_only_needs_read_only_and_private(self):
        source = self.shared()
        for mount in (
            self.mount("/data", source, recursive_read_only=True),
            self.mount("/data", source, "HOST_TO_CONTAINER", readonly=True, recursive_read_only=True),
            self.mount("/data", source, "BIDIRECTIONAL", readonly=True, recursive_read_only=True),
        ):
            self.refused(INVALID, ["recursive_read_only"], mount)

    def test_mount_options_are_flags(self):
        self.only_belay()
        shutil.copy("/bin/busybox", self.volume / "true")
        container = self.running(self.mount("/data", mount_options=["noexec", "nosuid", "nodev"]))
        flags = self.sh(container, "grep ' /data ' /proc/self/mounts").split()[3].split(",")
        self.assertLessEqual({"noexec", "nosuid", "nodev"}, set(flags))
        self.assertIn("denied", self.sh(container, "/data/true 2>&1"))
        self.refused(INVALID, ["mount_options"], self.mount("/data", mount_options=["suid"]))
        self.assertTrue(self.env.cri.runtime.Status().features.mount_options)

    def test_it_is_reported_what_the_node_can(self):
        status = self.env.cri.runtime.Status()
        handlers = {handler.name: handler.features for handler in status.runtime_handlers}
        self.assertTrue(handlers[""].recursive_read_only_mounts)

    # --- sources

    def test_a_link_leads_where_it_leads_on_the_host(self):
        (self.volume / "real").mkdir()
        (self.volume / "real" / "file").write_text("found")
        (self.volume / "link").symlink_to("real")
        container = self.running(self.mount("/data", self.volume / "link"))
        self.assertEqual("found", self.sh(container, "cat /data/file"))

    def test_a_source_that_hangs_hangs_nothing_else(self):
        self.only_belay()
        dead = self.dead_mount()
        self.hangs_alone(mounts=[self.mount("/data", dead / "sub")])
        waiting.until(lambda: not self.helpers_that_hang(), "the helper is gone")

    def test_a_device_that_hangs_hangs_nothing_else(self):
        self.only_belay()
        device = self.pb.Device(host_path=str(self.dead_mount() / "sub"), container_path="/dev/x", permissions="r")
        self.hangs_alone(devices=[device])

    def hangs_alone(self, **fields):
        """A container that waits for ever to be made; its pod, its shim and belayd go on."""
        self.pod, self.config = self.env.run_pod()
        config = self.env.container_config(name="hung", script="true", **fields)
        hung = self.env.cri.runtime.CreateContainer.future(
            pod_sandbox_id=self.pod, config=config, sandbox_config=self.config
        )
        waiting.until(self.helpers_that_hang, "somebody waits for the dead volume")
        container = self.running(pod=(self.pod, self.config), name="lively")
        self.assertEqual("alive", self.sh(container, "echo alive"))
        self.assertFalse(hung.done())
        self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=self.pod, deadline=20)
        self.env.cri.runtime.RemovePodSandbox(pod_sandbox_id=self.pod, deadline=20)
        self.assertIsInstance(hung.exception(timeout=20), grpc.RpcError)

    def dead_mount(self):
        """A FUSE file system whose server never answers."""
        path = self.volume / "dead"
        path.mkdir()
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        done = libc.mount(b"dead", str(path).encode(), b"fuse", 0, options.encode())
        self.assertEqual(0, done, os.strerror(ctypes.get_errno()))
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(path)], check=True)
        self.addCleanup(os.close, device)
        return path

    def helpers_that_hang(self):
        """Threads of belayd's, and children of its shims', that wait for FUSE."""
        daemon = self.env.daemon.process.pid
        waiters = [f"{daemon}/task/{thread}" for thread in os.listdir(f"/proc/{daemon}/task")]
        for shim in self.env.daemon.shims():
            waiters += pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
        found = []
        for waiter in waiters:
            try:
                if "fuse" in pathlib.Path(f"/proc/{waiter}/wchan").read_text():
                    found.append(waiter)
            except OSError:
                pass
        return found

    # --- what comes with the image, and with the pod

    def image_with_volumes(self):
        layers = self.env.busybox_layers("volumes")
        layers.append(Layer().directory("var").directory("var/data", uid=1000, gid=1000).add("var/data/first", b"of the image"))
        image = Image(layers, {"Env": ["PATH=/bin"], "Volumes": {"/var/data": {}, "/made/up": {}}})
        reference = self.env.registry.push(image, "test/volumes", "1")
        self.env.pull(reference)
        self.addCleanup(lambda: self.env.cri.image.RemoveImage(image=self.pb.ImageSpec(image=image.id)))
        return self.pb.ImageSpec(image=reference)

    def test_volumes_of_the_image_hold_what_it_has_there_and_can_be_written(self):
        context = self.pb.LinuxContainerSecurityContext(readonly_rootfs=True)
        linux = self.pb.LinuxContainerConfig(security_context=context)
        image = self.image_with_volumes()
        container = self.running(image=image, linux=linux)
        self.assertEqual("of the image", self.sh(container, "cat /var/data/first"))
        self.assertEqual("1000", self.sh(container, "stat -c %u /var/data"))
        self.assertEqual("", self.sh(container, "echo more > /var/data/second 2>&1; touch /made/up/file 2>&1"))
        self.assertIn("Read-only", self.sh(container, "touch /file 2>&1"))
        other = self.running(pod=(self.pod, self.config), name="other", image=image)
        self.assertEqual("first", self.sh(other, "ls /var/data"))

    def test_a_mount_beats_a_volume_of_the_image(self):
        (self.volume / "mine").touch()
        container = self.running(self.mount("/var/data"), image=self.image_with_volumes())
        self.assertEqual("mine", self.sh(container, "ls /var/data"))

    def test_shared_memory_is_the_pods(self):
        first = self.running()
        second = self.running(pod=(self.pod, self.config), name="second")
        self.sh(first, "echo hello > /dev/shm/message")
        self.assertEqual("hello", self.sh(second, "cat /dev/shm/message"))
        self.assertEqual("65536", self.sh(first, "df -k /dev/shm | tail -n 1").split()[1])
        elsewhere = self.running()
        self.assertEqual("", self.sh(elsewhere, "ls /dev/shm"))

    # --- devices

    def test_a_folder_of_devices(self):
        folder = self.volume / "devices"
        (folder / "deep").mkdir(parents=True)
        for name, number in (("one", (1, 3)), ("deep/two", (1, 5))):
            os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(*number))
        (folder / "file").touch()
        device = self.pb.Device(container_path="/dev/many", host_path=str(folder), permissions="rw")
        container = self.running(devices=[device])
        self.assertEqual("deep\none", self.sh(container, "ls /dev/many"))
        self.assertEqual("", self.sh(container, "echo gone > /dev/many/one 2>&1"))
        self.assertEqual("4", self.sh(container, "head -c 4 /dev/many/deep/two | wc -c"))

    def test_a_device_is_no_more_than_was_given(self):
        device = self.pb.Device(container_path="/dev/readable", host_path="/dev/zero", permissions="r")
        container = self.running(devices=[device])
        self.assertEqual("4", self.sh(container, "head -c 4 /dev/readable | wc -c"))
        self.assertEqual("crw-rw-rw-", self.sh(container, "ls -l /dev/readable").split()[0])
