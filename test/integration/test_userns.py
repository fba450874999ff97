"""Pods with a user namespace of their own: what they may in there is nothing on the host."""
import os
import pathlib
import shutil
import subprocess

import grpc

from harness.case import Case

FIRST, COUNT = 1 << 20, 1 << 16
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class UserNamespaceTest(Case):
    def setUp(self):
        super().setUp()
        self.supported = any(
            handler.features.user_namespaces
            for handler in self.env.cri.runtime.Status().runtime_handlers
        )
        if not self.supported:
            self.skipTest("this machine gives pods no user namespaces; the runtime's Status says so")
        self.volume = self.env.folder / "volume-of-userns"
        self.volume.mkdir()
        self.addCleanup(shutil.rmtree, self.volume)

    def ids(self, host=FIRST, container=0, length=COUNT):
        return self.pb.IDMapping(host_id=host, container_id=container, length=length)

    def userns(self, uids=None, gids=None, mode="POD"):
        uids = [self.ids()] if uids is None else uids
        return self.pb.UserNamespace(
            mode=self.pb.NamespaceMode.Value(mode), uids=uids, gids=uids if gids is None else gids
        )

    def pod_config(self, userns=None, change=None, **kind):
        config = self.env.pod_config(**kind)
        options = config.linux.security_context.namespace_options
        options.userns_options.CopyFrom(userns or self.userns())
        if change:
            change(options)
        return config

    def run_pod(self, **kind):
        return self.env.run_pod(self.pod_config(**kind))

    def running(self, pod=None, script="sleep 1000", **fields):
        self.pod, self.config = pod or self.run_pod()
        container = self.env.create(self.pod, self.config, script=script, **fields)
        self.env.start(container)
        return container

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def mount(self, place, source=None, mapped=False, **fields):
        ids = [self.ids()] if mapped else []
        return self.pb.Mount(container_path=place, host_path=str(source or self.volume),
                             uidMappings=ids, gidMappings=ids, **fields)

    # --- what it is

    def test_its_ids_are_mapped(self):
        container = self.running(script="cat /proc/self/uid_map; sleep 1000")
        rows = [self.sh(container, f"cat /proc/1/{name}_map").split() for name in ("uid", "gid")]
        self.assertEqual([["0", str(FIRST), str(COUNT)]] * 2, rows)
        self.assertNotEqual(os.readlink("/proc/self/ns/user"), self.sh(container, "readlink /proc/1/ns/user"))

    def test_all_of_its_namespaces_belong_to_it(self):
        container = self.running()
        capability = "mount -t tmpfs none /tmp && hostname changed && hostname"
        self.assertEqual("", self.sh(container, capability))
        # Where there is AppArmor its default profile forbids every mount.
        context = self.pb.LinuxContainerSecurityContext(
            capabilities=self.pb.Capability(add_capabilities=["SYS_ADMIN", "NET_ADMIN"]),
            apparmor=self.pb.SecurityProfile(profile_type=self.pb.SecurityProfile.Unconfined),
        )
        pod = self.pod, self.config
        other = self.running(pod, name="other", linux=self.pb.LinuxContainerConfig(security_context=context))
        self.assertEqual("changed", self.sh(other, capability))
        self.assertEqual("", self.sh(other, "ip link set lo mtu 1400 2>&1"))

    def test_the_host_sees_mapped_ids(self):
        container = self.running(script="touch /mine; chown 7:8 /mine; sleep 1000")
        self.sh(container, "touch /exec")
        root = pathlib.Path(f"/proc/{self.env.pid(container)}/root")
        self.assertEqual((FIRST + 7, FIRST + 8), ((root / "mine").stat().st_uid, (root / "mine").stat().st_gid))
        self.assertEqual(FIRST, (root / "exec").stat().st_uid)
        self.assertEqual(FIRST, os.stat(f"/proc/{self.env.pid(container)}").st_uid)

    def test_the_image_belongs_to_its_root(self):
        container = self.running()
        places = "/ /bin/busybox /etc/passwd /etc/hosts /etc/hostname /etc/resolv.conf /dev /dev/null /dev/shm /tmp"
        owners = self.sh(container, f"stat -c %u:%g {places}").split()
        self.assertEqual(["0:0"] * len(places.split()), owners)
        self.assertEqual("", self.sh(container, "echo 1.2.3.4 more >> /etc/hosts 2>&1"))

    def test_the_host_mounts_nothing_for_it(self):
        before = pathlib.Path("/proc/self/mountinfo").read_text()
        self.running()
        after = pathlib.Path("/proc/self/mountinfo").read_text()
        new = [row.split()[4] for row in after.splitlines() if row not in before.splitlines()]
        self.assertFalse([path for path in new if "overlay" in path or "rootfs" in path], new)

    def test_it_is_reported(self):
        pod, config = self.run_pod()
        status = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(
            config.linux.security_context.namespace_options.userns_options,
            status.linux.namespaces.options.userns_options,
        )

    # --- volumes

    def test_a_volume_shows_the_hosts_ids(self):
        os.chown(self.volume, FIRST, FIRST)
        container = self.running(mounts=[self.mount("/data")])
        self.assertEqual("0", self.sh(container, "stat -c %u /data; touch /data/mine; chown 7 /data/mine"))
        self.assertEqual(FIRST + 7, (self.volume / "mine").stat().st_uid)

    def test_a_mapped_volume_shows_its_own(self):
        (self.volume / "roots").touch()
        container = self.running(mounts=[self.mount("/data", mapped=True)])
        self.assertEqual("0", self.sh(container, "stat -c %u /data/roots; touch /data/mine; chown 7 /data/mine"))
        self.assertEqual(7, (self.volume / "mine").stat().st_uid)

    def test_what_kubelet_brings_is_mapped(self):
        """A file of the host's, as /etc/hosts, and a secret, which is in memory."""
        hosts, secret = self.volume / "hosts", self.volume / "secret"
        hosts.write_text("from kubelet\n")
        secret.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(secret)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(secret)], check=True)
        (secret / "token").write_text("x")
        (secret / "token").chmod(0o600)
        container = self.running(mounts=[
            self.mount("/etc/hosts", hosts, mapped=True),
            self.mount("/secret", secret, mapped=True, readonly=True, recursive_read_only=True),
        ])
        self.assertEqual("from kubelet\nx", self.sh(container, "cat /etc/hosts /secret/token"))
        self.assertEqual("0 0", self.sh(container, "echo $(stat -c %u /etc/hosts /secret/token)"))
        self.assertIn("Read-only", self.sh(container, "touch /secret/new 2>&1"))

    def test_what_is_the_hosts_is_out_of_reach(self):
        (self.volume / "secret").write_text("x")
        (self.volume / "secret").chmod(0o600)
        container = self.running(mounts=[self.mount("/data", readonly=True)])
        self.assertEqual("65534", self.sh(container, "stat -c %u /data/secret"))
        self.assertIn("denied", self.sh(container, "cat /data/secret 2>&1"))

    def test_a_mapping_that_is_not_the_pods(self):
        pod = self.run_pod()
        mount = self.mount("/data", mapped=True)
        mount.uidMappings[0].host_id += 1
        with self.assertCode(INVALID, "mounts[0].uidMappings", "must be the pod's mapping"):
            self.env.create(*pod, script="true", mounts=[mount])

    def test_what_it_mounts_cannot_reach_the_host(self):
        self.only_belay()
        pod = self.run_pod()
        mount = self.mount("/data", propagation=self.pb.MountPropagation.Value("PROPAGATION_BIDIRECTIONAL"))
        with self.assertCode(INVALID, "mounts[0].propagation", "BIDIRECTIONAL"):
            self.env.create(*pod, script="true", mounts=[mount])

    # --- with other things

    def test_on_the_hosts_network(self):
        self.assertTrue(self.env.cri.runtime.Status().features.user_namespaces_host_network)
        container = self.running(self.run_pod(host_network=True))
        self.assertEqual(os.readlink("/proc/self/ns/net"), self.sh(container, "readlink /proc/self/ns/net"))
        self.assertEqual(str(FIRST), self.sh(container, "cat /proc/self/uid_map").split()[1])
        self.assertIn("lo", self.sh(container, "ls /sys/class/net"))

    def test_with_a_shared_pid_namespace(self):
        def share(options):
            options.pid = self.pb.NamespaceMode.Value("POD")

        pod = self.run_pod(change=share)
        for name in ("1001", "1002"):
            config = self.env.container_config(name=name, script=f"sleep {name}")
            share(config.linux.security_context.namespace_options)
            container = self.env.create(*pod, config)
            self.env.start(container)
        self.assertNotIn("sleep", self.sh(container, "cat /proc/1/comm"))
        rows = self.sh(container, "ps -o args")
        self.assertIn("sleep 1001", rows)
        self.assertIn("sleep 1002", rows)

    def test_with_the_pid_namespace_of_another(self):
        target = self.running()
        config = self.env.container_config(name="debugger", script="sleep 1001")
        options = config.linux.security_context.namespace_options
        options.pid = self.pb.NamespaceMode.Value("TARGET")
        options.target_id = target
        debugger = self.env.create(self.pod, self.config, config)
        self.env.start(debugger)
        self.assertIn("sleep 1000", self.sh(debugger, "ps -o args"))

    def test_as_another_user(self):
        context = self.pb.LinuxContainerSecurityContext(run_as_username="alice")
        linux = self.pb.LinuxContainerConfig(security_context=context)
        container = self.running(script="id -u; echo again > /proc/self/fd/1; sleep 1000", linux=linux)
        self.assertEqual(FIRST + 1000, os.stat(f"/proc/{self.env.pid(container)}").st_uid)
        self.assertEqual("1000", self.sh(container, "id -u"))
        self.assertEqual(1000, self.env.status(container).user.linux.uid)

    def test_its_log_is_written_through_reopened_streams(self):
        pod, config = self.run_pod()
        container = self.env.create(pod, config, script="echo one; echo two > /dev/stdout; echo three > /dev/stderr")
        self.env.start(container)
        self.env.wait_exited(container)
        self.assertEqual(["one", "three", "two"], sorted(text for _, _, text in self.env.log_lines(config)))

    def test_a_privileged_one_owns_no_device_of_the_hosts(self):
        config = self.pod_config()
        config.linux.security_context.privileged = True
        linux = self.pb.LinuxContainerConfig(
            security_context=self.pb.LinuxContainerSecurityContext(privileged=True)
        )
        container = self.running(self.env.run_pod(config), linux=linux)
        self.assertEqual("65534", self.sh(container, "stat -c %u /dev/fuse"))
        self.assertEqual("0", self.sh(container, "stat -c %u /dev/null"))
        self.assertIn("denied", self.sh(container, "(echo 3 > /proc/sys/vm/drop_caches) 2>&1"))
        self.assertIn("not permitted", self.sh(container, "mknod /tmp/disk b 254 0 2>&1"))

    def test_its_network_works(self):
        pod, config = self.run_pod()
        container = self.running((pod, config))
        address = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip
        self.assertIn(address, self.sh(container, "ip -o -4 addr show dev eth0"))
        self.assertIn("1 packets received", self.sh(container, "ping -c 1 127.0.0.1"))

    def test_a_restart_finds_it_again(self):
        self.only_belay()
        container = self.running()
        self.restart()
        self.assertEqual(str(FIRST), self.sh(container, "cat /proc/self/uid_map").split()[1])
        other = self.running((self.pod, self.config), name="later")
        self.assertEqual(self.sh(container, "readlink /proc/1/ns/user"), self.sh(other, "readlink /proc/1/ns/user"))

    # --- what is refused

    def test_pods_that_are_refused(self):
        NODE = self.pb.NamespaceMode.Value("NODE")

        def host_pids(options):
            options.pid = NODE

        def host_ipc(options):
            options.ipc = NODE

        ids = self.ids
        for words, kind in (
            (["uids", "exactly one mapping"], {"userns": self.userns([ids(), ids(FIRST + COUNT, COUNT)])}),
            (["uids", "exactly one mapping"], {"userns": self.userns([])}),
            (["uids", "container's id 0"], {"userns": self.userns([ids(container=1)])}),
            (["uids"], {"userns": self.userns([ids(length=0)])}),
            (["uids", "beyond the last one"], {"userns": self.userns([ids(host=0xffffff00)])}),
            (["same mapping"], {"userns": self.userns(gids=[ids(host=FIRST + 1)])}),
            (["mode"], {"userns": self.userns(mode="CONTAINER")}),
            (["mode"], {"userns": self.userns(mode="TARGET")}),
            (["mappings are given"], {"userns": self.userns(mode="NODE")}),
            (["namespace_options.pid"], {"change": host_pids}),
            (["namespace_options.ipc"], {"change": host_ipc}),
        ):
            with self.subTest(words=words), self.assertCode(INVALID, *words):
                self.run_pod(**kind)

    def test_containers_have_the_user_namespace_of_their_pod(self):
        pod, config = self.run_pod()
        container = self.env.container_config(script="true")
        for userns in (self.userns([self.ids(host=FIRST + 1)]), self.userns([], mode="NODE")):
            other = self.pod_config(userns)
            with self.subTest(userns=userns), self.assertCode(INVALID, "userns_options", "same"):
                self.env.create(pod, other, container)

    def test_a_user_that_is_not_mapped(self):
        self.only_belay()
        context = self.pb.LinuxContainerSecurityContext(run_as_user=self.pb.Int64Value(value=COUNT))
        with self.assertCode(INVALID, str(COUNT), "user namespace"):
            self.running(linux=self.pb.LinuxContainerConfig(security_context=context))
