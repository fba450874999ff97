"""AppArmor profiles, on machines whose kernel enforces them (the test VM's does)."""
import pathlib
import shutil
import subprocess

import grpc

from harness.case import Case

ENABLED = pathlib.Path("/sys/module/apparmor/parameters/enabled")
LOADED = pathlib.Path("/sys/kernel/security/apparmor/profiles")

# What critest and Kubernetes' own tests load.
DENY_WRITE = """
profile belay-test-deny-write flags=(attach_disconnected) {
  file,
  capability,
  network,
  signal,
  ptrace,
  deny /** w,
}
"""

# One that names what may be written. A container's streams are FIFOs of the host's, which it sees
# nowhere: their path begins at the root of the file system that they are on.
NAME_WRITES = """
profile belay-test-name-writes flags=(attach_disconnected) {{
  /** rmixk,
  /tmp/** rw,
  {streams} w,
}}
"""


class AppArmorTest(Case):
    def setUp(self):
        if not (ENABLED.exists() and ENABLED.read_text().startswith("Y")):
            self.skipTest("the kernel of this machine has no AppArmor")
        if not shutil.which("apparmor_parser", path="/usr/sbin:/sbin"):
            self.skipTest("this machine lacks apparmor_parser (Debian package apparmor)")
        super().setUp()
        self.only_belay()
        self.parse("--replace", DENY_WRITE)
        self.addCleanup(self.parse, "--remove", DENY_WRITE)

    def parse(self, action, text):
        subprocess.run(["/usr/sbin/apparmor_parser", action], input=text.encode(), check=True)

    def running(self, pod=None, script="sleep 1000", **fields):
        sandbox, config = pod or self.env.run_pod()
        linux = self.pb.LinuxContainerConfig(security_context=self.pb.LinuxContainerSecurityContext(**fields))
        container = self.env.create(sandbox, config, script=script, linux=linux)
        self.env.start(container)
        return container

    def sh(self, container, script):
        code, out, err = self.env.exec(container, "sh", "-c", script)
        return (out + err).strip()

    def profile(self, kind, name=""):
        Type = self.pb.SecurityProfile.ProfileType
        return self.pb.SecurityProfile(profile_type=getattr(Type, kind), localhost_ref=name)

    def label(self, container, process):
        return self.sh(container, f"cat /proc/{process}/attr/current")

    def test_the_default_is_loaded_and_on_the_container_and_its_execs(self):
        self.assertIn("belay-default (enforce)", LOADED.read_text())
        for fields in ({}, {"apparmor": self.profile("RuntimeDefault")}, {"apparmor_profile": "runtime/default"}):
            container = self.running(**fields)
            for process in ("1", "self"):
                self.assertEqual("belay-default (enforce)", self.label(container, process), fields)

    def test_the_default_keeps_the_machine_from_a_container_with_capabilities(self):
        pb = self.pb
        everything = pb.Capability(add_capabilities=["ALL"])
        unmasked = {"masked_paths": ["/proc/uptime"], "readonly_paths": ["/proc/irq"]}
        container = self.running(capabilities=everything, **unmasked)
        for attempt in ("echo 1 > /proc/sys/vm/swappiness", "echo h > /proc/sysrq-trigger", "head -c 1 /proc/kmsg",
                        "mkdir /tmp/m && mount -t tmpfs none /tmp/m",
                        "echo 0 > /proc/sys/kernel/randomize_va_space"):
            self.assertIn("enied", self.sh(container, f"({attempt}) 2>&1"), attempt)
        # The pod's own, and ordinary work.
        self.assertEqual("fine", self.sh(container, "echo 100 > /proc/sys/kernel/shmmni && echo fine"))
        self.assertEqual("fine", self.sh(
            container, "cd /tmp && echo fine > a && cp a b && mv b c && ln c d && cat d; sleep 100 & kill $!; wait"))
        self.assertEqual("again", self.sh(container, "echo again > /dev/stdout"))

    def test_unconfined_and_privileged_are(self):
        container = self.running(apparmor=self.profile("Unconfined"))
        self.assertEqual("unconfined", self.label(container, "1"))
        config = self.env.pod_config()
        config.linux.security_context.privileged = True
        container = self.running(self.env.run_pod(config), privileged=True, apparmor=self.profile("RuntimeDefault"))
        for process in ("1", "self"):
            self.assertEqual("unconfined", self.label(container, process))

    def test_a_profile_of_the_nodes(self):
        for fields in ({"apparmor": self.profile("Localhost", "belay-test-deny-write")},
                       {"apparmor_profile": "localhost/belay-test-deny-write"}):
            container = self.running(**fields)
            for process in ("1", "self"):
                self.assertEqual("belay-test-deny-write (enforce)", self.label(container, process))
            self.assertIn("denied", self.sh(container, "touch /tmp/file"))
            # The streams that it was given are its own, whatever it may open.
            self.assertEqual("said", self.sh(container, "echo said"))

    def said(self, profile):
        """What a container's log has of three ways to write it."""
        script = "echo inherited; echo out > /dev/stdout; echo err > /dev/stderr; true"
        sandbox, config = self.env.run_pod()
        security = self.pb.LinuxContainerSecurityContext(apparmor=profile)
        container = self.env.create(sandbox, config, script=script,
                                    linux=self.pb.LinuxContainerConfig(security_context=security))
        self.env.start(container)
        self.env.wait_exited(container)
        return [text for _, _, text in self.env.log_lines(config) if "denied" not in text]

    def test_streams_opened_by_name(self):
        self.assertEqual(["inherited", "out", "err"], self.said(self.profile("RuntimeDefault")))
        # A rule for all paths is one for theirs.
        self.assertEqual(["inherited"], self.said(self.profile("Localhost", "belay-test-deny-write")))
        mount = max((line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                     if str(self.env.daemon.state).startswith(line.split()[4])), key=len)
        pods = "/" + str(self.env.daemon.state / "pods").removeprefix(mount).lstrip("/")
        profile = NAME_WRITES.format(streams=pods + "/**")
        self.parse("--replace", profile)
        self.addCleanup(self.parse, "--remove", profile)
        self.assertEqual(["inherited", "out", "err"], self.said(self.profile("Localhost", "belay-test-name-writes")))

    def test_a_filtered_process_without_new_privileges_is_confined_as_well(self):
        container = self.running(no_new_privs=True, seccomp=self.profile("RuntimeDefault"))
        for process in ("1", "self"):
            self.assertEqual("belay-default (enforce)", self.label(container, process))

    def test_a_profile_that_is_not_loaded_is_refused_and_nothing_is_left(self):
        for fields in ({"apparmor": self.profile("Localhost", "no-such-profile")},
                       {"apparmor_profile": "localhost/no-such-profile"}):
            with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, "no-such-profile", "not loaded"):
                self.running(**fields)
        self.assertEqual([], list(self.env.cri.runtime.ListContainers().containers))

    def test_the_default_is_loaded_again_when_somebody_removed_it(self):
        (LOADED.parent / ".remove").write_text("belay-default")
        self.assertNotIn("belay-default", LOADED.read_text())
        container = self.running()
        self.assertEqual("belay-default (enforce)", self.label(container, "1"))
