"""Every field of a security context has its effect, or is refused by name."""
import os
import pathlib

import grpc

from harness.case import Case

APPARMOR = pathlib.Path("/sys/module/apparmor/parameters/enabled")


def has_apparmor():
    return APPARMOR.exists() and APPARMOR.read_text().startswith("Y")


class SecurityContextTest(Case):
    def running(self, pod=None, context=None, resources=None, script="sleep 1000", **fields):
        pb = self.pb
        sandbox, config = pod or self.env.run_pod()
        linux = pb.LinuxContainerConfig(security_context=context, resources=resources)
        container = self.env.create(sandbox, config, script=script, linux=linux, **fields)
        self.env.start(container)
        return container

    def refused(self, code, *words, pod=None, **fields):
        with self.assertCode(code, *words):
            self.running(pod, **fields)

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def capabilities(self, container, process):
        rows = self.sh(container, f"grep Cap /proc/{process}/status").splitlines()
        return {row.split(":")[0]: int(row.split()[1], 16) for row in rows}

    def test_ambient_capabilities_reach_users_who_are_not_root(self):
        self.only_belay()
        pb = self.pb
        context = pb.LinuxContainerSecurityContext(
            run_as_user=pb.Int64Value(value=1000),
            capabilities=pb.Capability(drop_capabilities=["ALL"], add_ambient_capabilities=["CAP_NET_BIND_SERVICE", "net_raw"]),
        )
        container = self.running(context=context)
        for process in ("1", "self"):
            sets = self.capabilities(container, process)
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(1 << 10 | 1 << 13, sets[name], (process, name))

    def test_all_and_names_with_and_without_the_prefix(self):
        pb = self.pb
        for capability, expected in (
            (pb.Capability(drop_capabilities=["all"], add_capabilities=["CAP_CHOWN", "kill"]), 1 << 0 | 1 << 5),
            (pb.Capability(drop_capabilities=["CAP_ALL"[4:]]), 0),
        ):
            container = self.running(context=pb.LinuxContainerSecurityContext(capabilities=capability))
            self.assertEqual(expected, self.capabilities(container, "1")["CapEff"])
        own = int(pathlib.Path("/proc/self/status").read_text().split("CapPrm:\t")[1].split()[0], 16)
        everything = pb.Capability(add_capabilities=["ALL"], drop_capabilities=["SYS_ADMIN"])
        container = self.running(context=pb.LinuxContainerSecurityContext(capabilities=everything))
        self.assertEqual(own & ~(1 << 21), self.capabilities(container, "1")["CapEff"])
        wrong = pb.Capability(add_capabilities=["CAP_FLY"])
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "CAP_FLY",
                     context=pb.LinuxContainerSecurityContext(capabilities=wrong))

    def test_no_new_privileges(self):
        container = self.running(context=self.pb.LinuxContainerSecurityContext(no_new_privs=True))
        for process in ("1", "self"):
            self.assertEqual("1", self.sh(container, f"grep NoNewPrivs /proc/{process}/status").split()[1])

    def test_users_and_groups_merged_or_strict_are_reported(self):
        pb = self.pb
        for policy, groups in ((pb.SupplementalGroupsPolicy.Merge, {1000, 3000, 2000}),
                               (pb.SupplementalGroupsPolicy.Strict, {1000, 3000})):
            context = pb.LinuxContainerSecurityContext(
                run_as_username="alice", supplemental_groups=[3000], supplemental_groups_policy=policy
            )
            container = self.running(context=context)
            self.assertEqual(groups, set(map(int, self.sh(container, "id -G").split())))
            user = self.env.status(container).user.linux
            self.assertEqual((1000, 1000, groups), (user.uid, user.gid, set(user.supplemental_groups)))
        group = pb.LinuxContainerSecurityContext(
            run_as_user=pb.Int64Value(value=1000), run_as_group=pb.Int64Value(value=77))
        self.assertEqual("1000 77", self.sh(self.running(context=group), "echo $(id -u) $(id -g)"))
        nobody = pb.LinuxContainerSecurityContext(run_as_username="mallory")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "mallory", context=nobody)
        self.assertTrue(self.env.cri.runtime.Status().features.supplemental_groups_policy)

    def test_a_privileged_container_has_everything(self):
        pb = self.pb
        config = self.env.pod_config()
        config.linux.security_context.privileged = True
        pod = self.env.run_pod(config)
        profile = pb.SecurityProfile(profile_type=pb.SecurityProfile.ProfileType.RuntimeDefault)
        context = pb.LinuxContainerSecurityContext(privileged=True, seccomp=profile, apparmor=profile)
        container = self.running(pod, context)
        own = int(pathlib.Path("/proc/self/status").read_text().split("CapPrm:\t")[1].split()[0], 16)
        self.assertEqual(own, self.capabilities(container, "1")["CapEff"])
        self.assertEqual("0", self.sh(container, "grep Seccomp: /proc/1/status").split()[1])
        mounts = {row.split()[4]: row.split()[5].split(",") for row in self.sh(container, "cat /proc/1/mountinfo").splitlines()}
        for target in ("/proc", "/sys", "/sys/fs/cgroup"):
            self.assertIn("rw", mounts[target], target)
        self.assertNotIn("/proc/kcore", mounts)
        self.assertNotIn("/proc/sys", mounts)
        devices = {name for name in os.listdir("/dev") if name in ("kmsg", "loop0", "fuse", "vda", "kvm")}
        self.assertLessEqual(devices, set(self.sh(container, "ls /dev").split()))
        # One that no container has by default: the device cgroup is open.
        self.assertEqual("made", self.sh(container, "mknod /tmp/zero c 1 11 && (head -c 0 /tmp/zero; echo made)"))

    def test_privileges_need_a_privileged_pod(self):
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "privileged",
                     context=self.pb.LinuxContainerSecurityContext(privileged=True))

    def test_paths_that_are_given_replace_the_usual_ones(self):
        pb = self.pb
        context = pb.LinuxContainerSecurityContext(masked_paths=["/proc/uptime"], readonly_paths=["/proc/irq"])
        container = self.running(context=context)
        self.assertEqual("0", self.sh(container, "cat /proc/uptime | wc -c"))
        targets = {row.split()[4] for row in self.sh(container, "cat /proc/1/mountinfo").splitlines()}
        self.assertIn("/proc/irq", targets)
        self.assertNotIn("/proc/keys", targets)
        self.assertNotIn("/proc/sys", targets)
        usual = {row.split()[4] for row in self.sh(self.running(), "cat /proc/1/mountinfo").splitlines()}
        self.assertLessEqual({"/proc/keys", "/proc/sys", "/sys/firmware"}, usual)

    def test_oom_scores_are_clamped_to_what_the_daemon_may_give_and_that_is_said_once(self):
        pb = self.pb
        may_lower = int(pathlib.Path("/proc/self/status").read_text().split("CapPrm:\t")[1].split()[0], 16) >> 24 & 1
        own = int(pathlib.Path("/proc/self/oom_score_adj").read_text())
        for wanted in (500, -998, -997):
            resources = pb.LinuxContainerResources(oom_score_adj=wanted)
            container = self.running(resources=resources)
            expected = wanted if may_lower else max(wanted, own)
            for process in ("1", "self"):
                self.assertEqual(str(expected), self.sh(container, f"cat /proc/{process}/oom_score_adj"))
        if self.env.daemon and not may_lower:
            log = self.env.daemon.log_path.read_text(errors="replace")
            starts = log.count("serving")
            self.assertIn(log.count("restrict_oom_score_adj"), range(1, starts + 1))

    def test_sysctls_of_the_pods_own_with_both_separators(self):
        pb = self.pb
        config = self.env.pod_config(linux=pb.LinuxPodSandboxConfig(
            sysctls={"net.ipv4.ip_forward": "1", "kernel/shm_rmid_forced": "1", "fs.mqueue.msg_max": "11"}))
        container = self.running(self.env.run_pod(config))
        paths = "net/ipv4/ip_forward kernel/shm_rmid_forced fs/mqueue/msg_max"
        self.assertEqual(["1", "1", "11"], self.sh(container, f"cd /proc/sys; cat {paths}").split())
        for name in ("kernel.panic", "vm/swappiness", "net.ipv4..x", "kernel.core_pattern"):
            bad = self.env.pod_config(linux=pb.LinuxPodSandboxConfig(sysctls={name: "1"}))
            with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, name.replace("/", ".")):
                self.env.run_pod(bad)
        on_host = self.env.pod_config(
            host_network=True, linux=pb.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_forward": "1"}))
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "net.ipv4.ip_forward", "host's network"):
            self.env.run_pod(on_host)

    def test_devices_one_by_one_and_by_folder(self):
        pb = self.pb
        folder = self.env.folder / "devices"
        (folder / "deep").mkdir(parents=True)
        os.mknod(folder / "deep/full", 0o20666, os.makedev(1, 7))
        os.mknod(folder / "zero", 0o20666, os.makedev(1, 5))
        (folder / "plain").write_text("no device")
        container = self.running(devices=[
            pb.Device(container_path="/dev/mine", host_path=str(folder), permissions="r"),
            pb.Device(container_path="/dev/one", host_path="/dev/zero", permissions="rwm"),
        ])
        self.assertEqual("1:7 1:5 1:5", self.sh(
            container, "stat -c %t:%T /dev/mine/deep/full /dev/mine/zero /dev/one | tr '\\n' ' '"))
        self.assertNotIn("plain", self.sh(container, "ls /dev/mine"))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "devices[0].host_path",
                     devices=[pb.Device(container_path="/dev/x", host_path="/dev/no-such", permissions="r")])

    def test_selinux_labels_are_refused_where_there_is_no_selinux(self):
        self.only_belay()
        if os.path.isdir("/sys/fs/selinux"):
            self.skipTest("this machine has SELinux")
        options = self.pb.SELinuxOption(type="container_t")
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "selinux_options", "no SELinux",
                     context=self.pb.LinuxContainerSecurityContext(selinux_options=options))

    def test_apparmor_profiles_where_the_kernel_has_none(self):
        if has_apparmor():
            self.skipTest("this machine has AppArmor: test_apparmor tests what it does")
        pb = self.pb
        Type = pb.SecurityProfile.ProfileType
        own = pb.SecurityProfile(profile_type=Type.Localhost, localhost_ref="mine")
        for fields in ({"apparmor": own}, {"apparmor_profile": "localhost/mine"}):
            self.refused(grpc.StatusCode.FAILED_PRECONDITION, "mine", "no AppArmor",
                         context=pb.LinuxContainerSecurityContext(**fields))
        default = pb.SecurityProfile(profile_type=Type.RuntimeDefault)
        self.assertEqual("up", self.sh(self.running(
            context=pb.LinuxContainerSecurityContext(apparmor=default)), "echo up"))


class RuntimeHandlerTest(Case):
    def test_the_empty_name_and_the_configured_ones_are_the_built_in_engine(self):
        self.only_belay()
        handlers = {handler.name: handler.features for handler in self.env.cri.runtime.Status().runtime_handlers}
        self.assertLessEqual({"", "belay"}, set(handlers))
        self.assertTrue(all(features.recursive_read_only_mounts for features in handlers.values()))
        for handler in ("", "belay"):
            config = self.env.pod_config()
            pod = self.env.cri.runtime.RunPodSandbox(config=config, runtime_handler=handler).pod_sandbox_id
            container = self.env.create(pod, config, script="true")
            self.env.start(container)
            self.assertEqual(0, self.env.wait_exited(container).exit_code)
            self.assertEqual("belay", self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.runtime_handler)

    def test_an_unknown_handler_is_refused_and_leaves_nothing(self):
        config = self.env.pod_config()
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "kata"):
            self.env.cri.runtime.RunPodSandbox(config=config, runtime_handler="kata")
        self.assertEqual([], [item.id for item in self.env.cri.runtime.ListPodSandbox().items
                              if item.metadata.uid == config.metadata.uid])
