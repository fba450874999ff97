"""Attacks that runtimes have fallen to, each attempted by a container against the real daemon and shim.

The programs that attack are in test/attacks; they are compiled here and put into an image.
"""
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import unittest

import grpc

from harness import waiting
from harness.case import Case
from harness.environment import busybox_layer
from harness.registry import Image, Layer

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "attacks"
SYS_PTRACE = 1 << 19
USUAL_CAPABILITIES = 0xA80425FB


def compile_attacks(folder):
    programs = {}
    for source in sorted(SOURCES.glob("*.c")):
        program = folder / source.stem
        subprocess.run(
            ["clang-19", "-std=c17", "-O1", "-static", "-Wno-unused-result", source, "-o", program], check=True
        )
        programs[source.stem] = program.read_bytes()
    return programs


def hash_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class AttackCase(Case):
    """An image with the attackers' programs, and a folder of the host that none of them may find or change."""

    image = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which("clang-19"):
            raise unittest.SkipTest("this machine lacks clang-19, which compiles what attacks")

    def setUp(self):
        super().setUp()
        self.only_belay()
        self.image = AttackCase.image or self.make_image()
        self.outside = self.env.folder / "outside"
        self.outside.mkdir()
        (self.outside / "marker").write_text("of the host\n")
        self.addCleanup(shutil.rmtree, self.outside)
        self.volume = self.env.folder / "volume-of-attacks"
        self.volume.mkdir()
        self.addCleanup(shutil.rmtree, self.volume)
        # The attackers first: what they still change cannot be removed.
        self.addCleanup(self.env.remove_everything)

    def make_image(self):
        folder = self.env.folder / "attacks"
        folder.mkdir(exist_ok=True)
        layer = Layer().directory("attack")
        for name, program in compile_attacks(folder).items():
            layer.add(f"attack/{name}", program, mode=0o755)
        layer.add("evil", b"#!/proc/self/exe\n", mode=0o755)
        config = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
        AttackCase.image = self.env.registry.push(Image([busybox_layer(), layer], config), "test/attacker", "1")
        self.env.pull(AttackCase.image)
        self.base = self.env.baseline()
        return AttackCase.image

    def container(self, pod, name, script, mounts=(), context=None, **fields):
        pb = self.pb
        sandbox, config = pod
        linux = pb.LinuxContainerConfig(security_context=context) if context else None
        wish = self.env.container_config(name=name, script=script, mounts=list(mounts), **fields)
        wish.image.image = self.image
        if linux:
            wish.linux.MergeFrom(linux)
        return self.env.create(sandbox, config, config=wish)

    def running(self, pod, name, script, **fields):
        container = self.container(pod, name, script, **fields)
        self.env.start(container)
        return container

    def attempt(self, pod, name, script, **fields):
        """A container created and started while it is under attack: its id, or None if belay refused it."""
        try:
            container = self.container(pod, name, script, **fields)
        except grpc.RpcError as error:
            # Refused for what was found there, not broken by it.
            self.assertNotIn(error.code(), (grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED), error.details())
            self.refusals.append(error.details())
            return None
        try:
            self.env.start(container)
        except grpc.RpcError as error:
            self.refusals.append(error.details())
        return container

    def remove(self, container):
        self.env.cri.runtime.StopContainer(container_id=container, timeout=0)
        self.env.cri.runtime.RemoveContainer(container_id=container)

    def mount(self, target, source, **fields):
        return self.pb.Mount(container_path=target, host_path=str(source), **fields)

    def exchanging(self, pod, *pairs):
        """A co-tenant that exchanges names in the volume, at it by the time this returns."""
        arguments = " ".join(f"/volume/{name}" for pair in pairs for name in pair)
        container = self.running(
            pod, "attacker", f"exec /attack/exchange {arguments}", mounts=[self.mount("/volume", self.volume)]
        )
        waiting.until(
            lambda: ("stdout", "F", "ready") in self.env.log_lines(pod[1], "attacker"), "the attacker is at it"
        )
        self.refusals = []
        return container

    # What a victim prints of what it sees: mounts as /proc/self/mountinfo has them, and the host's marker
    # wherever it may be. It runs by itself: an exec would have to find its working directory again.
    LOOK = (
        "cat /proc/self/mountinfo;"
        "find / \\( -path /proc -o -path /sys \\) -prune -o -name marker -print 2>/dev/null | sed 's/^/FOUND /'; echo END"
    )

    def look_of(self, pod, name, container):
        """The lines that a victim printed before END; none if it could not be started."""
        if container is None:
            return None
        self.env.wait_exited(container, 60)
        lines = [text.rstrip("\r") for _, _, text in self.env.log_lines(pod[1], name)]
        self.remove(container)
        return lines[: lines.index("END")] if "END" in lines else None

    def assertSeesNoHost(self, lines):
        self.assertEqual([], [line for line in lines if line.startswith("FOUND")])
        # Of a bind mount the mountinfo shows where in its file system the source is.
        self.assertEqual([], [row for row in self.mounts(lines) if row[0].startswith(str(self.outside))])

    @staticmethod
    def mounts(lines):
        """[(root within its file system, mount point, type)]"""
        rows = [line.split() for line in lines if " - " in line]
        return [(row[3], row[4], row[row.index("-") + 1]) for row in rows]

    def assertHostUnharmed(self, names=("marker",)):
        self.assertEqual(set(names), {path.name for path in self.outside.iterdir()})
        self.assertEqual("of the host\n", (self.outside / "marker").read_text())


class ProgramTest(AttackCase):
    def test_the_shims_program_cannot_be_overwritten_through_proc(self):
        """CVE-2019-5736."""
        program = self.env.daemon.programs / "belay-shim"
        before = hash_of(program)
        pod = self.env.run_pod()
        container = self.running(pod, "main", "exec /attack/overwrite /tmp/report")

        def counts():
            return [int(word) for word in self.env.exec(container, "cat", "/tmp/report")[1].split()]

        waiting.until(lambda: len(counts()) == 2, "the attacker is at it")

        def found():
            # Its interpreter is what runs it: the shim's own program, inside the container.
            self.env.exec(container, "/evil", "--version")
            return counts()[0] > 0

        waiting.until(found, "the attacker saw a program that is not the container's", 60)
        for _ in range(20):
            self.env.exec(container, "/evil", "--version")
        self.assertEqual(0, counts()[1])
        self.assertEqual(before, hash_of(program))
        # As the first process as well.
        first = self.container(pod, "first", None, command=["/evil", "--version"])
        self.env.start(first)
        self.env.wait_exited(first)
        self.assertEqual(before, hash_of(program))


class DescriptorTest(AttackCase):
    def test_no_descriptor_of_the_hosts_is_a_working_directory(self):
        """CVE-2024-21626, by the container's working directory and by a link of its image."""
        pod = self.env.run_pod()
        climb = "../" * 16
        # What a way out would show. (The host's marker has a path of its own that is in no container.)
        script = f"cat {climb[:-1]}{self.outside}/marker; cat marker; pwd"
        self.refusals = []
        for number in range(3, 24):
            for folder in (f"/proc/self/fd/{number}", f"/proc/1/fd/{number}", f"/proc/thread-self/fd/{number}/.."):
                container = self.attempt(pod, f"w{number}{len(folder)}", script, working_dir=folder)
                if container is None:
                    continue
                self.env.wait_exited(container)
                self.assertNotIn("of the host", str(self.env.log_lines(pod[1], f"w{number}{len(folder)}")))
                self.remove(container)
        self.assertTrue(any("working directory" in text for text in self.refusals), self.refusals)

    def test_a_container_has_no_descriptor_but_its_streams(self):
        pod = self.env.run_pod()
        container = self.running(pod, "main", "ls /proc/self/fd | wc -l; sleep 1000")
        waiting.until(lambda: self.env.log_lines(pod[1]), "the container has looked")
        # Its own three, and the one that lists them.
        self.assertEqual([("stdout", "F", "4")], self.env.log_lines(pod[1]))
        self.assertEqual("4", self.env.exec(container, "sh", "-c", "ls /proc/self/fd | wc -l")[1].strip())


class RaceTest(AttackCase):
    ROUNDS = 15
    # A victim that is to be seen at all may need luck: until one is, this many are tried.
    PATIENCE = 300

    def folders(self, *names):
        for name in names:
            (self.volume / name).mkdir(parents=True)

    def links(self, **targets):
        for name, target in targets.items():
            (self.volume / name).symlink_to(target)

    def device_folder(self):
        """What a container needs of /dev, in the volume: whoever shares it changes it at will."""
        for name, number in (("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)),
                             ("urandom", (1, 9)), ("tty", (5, 0))):
            os.mknod(self.volume / name, stat.S_IFCHR | 0o666, os.makedev(*number))
        self.folders("pts", "shm", "mqueue")

    def looks(self, pod, script, **fields):
        """What each victim saw that could be started, one after the other, with the attack going on."""
        seen = 0
        for index in range(self.PATIENCE):
            if index >= self.ROUNDS and seen > 0:
                break
            name = f"victim{index}"
            container = self.attempt(pod, name, script, **fields)
            lines = self.look_of(pod, name, container)
            if lines is None:
                continue
            seen += 1
            yield lines
        self.assertGreater(seen, 0, self.refusals)

    def test_mount_points_that_become_links_stay_inside(self):
        """CVE-2021-30465: destinations inside a shared volume, exchanged with links to the root and the host."""
        pod = self.env.run_pod()
        self.folders("a", "b", "c/deep", "second")
        self.links(to_root="/", to_host=str(self.outside), to_above="../" * 20 + str(self.outside)[1:])
        self.exchanging(pod, ("a", "to_root"), ("b", "to_host"), ("c", "to_above"))
        targets = ["/volume/a/inner", "/volume/b", "/volume/b/inner", "/volume/c/deep", "/volume/a"]
        mounts = [self.mount("/volume", self.volume)]
        mounts += [self.mount(target, self.volume / "second") for target in targets]
        for lines in self.looks(pod, self.LOOK, mounts=mounts):
            self.assertSeesNoHost(lines)
            self.assertHostUnharmed()

    def test_every_other_step_of_the_set_up_stays_inside(self):
        """Devices, working directory and users, all in folders that an attacker changes meanwhile."""
        pod = self.env.run_pod()
        self.folders("dev", "etc", "work/here", "own")
        (self.volume / "etc/passwd").write_text("root:x:0:0::/:\nalice:x:1000:1000::/:\n")
        (self.outside / "passwd").write_text("alice:x:77:77::/:\n")
        (self.volume / "etc_link").symlink_to(self.outside / "passwd")
        self.links(to_host=str(self.outside), work_link="/proc/self/fd", own_link=str(self.outside))
        self.exchanging(
            pod, ("dev", "to_host"), ("etc/passwd", "etc_link"), ("work", "work_link"), ("own", "own_link"))
        pb = self.pb
        fields = {
            "mounts": [self.mount("/volume", self.volume), self.mount("/etc", self.volume / "etc")],
            "devices": [pb.Device(container_path="/volume/dev/made", host_path="/dev/null", permissions="rw")],
            "working_dir": "/volume/own/work/new",
            "context": pb.LinuxContainerSecurityContext(run_as_username="alice"),
        }
        for lines in self.looks(pod, "id -u; " + self.LOOK, **fields):
            # The host's alice has another number.
            self.assertEqual("1000", lines[0])
            self.assertSeesNoHost(lines)
            self.assertHostUnharmed(("marker", "passwd"))
        self.assertHostUnharmed(("marker", "passwd"))

    def test_what_covers_masked_paths_is_the_null_device(self):
        """CVE-2025-31133: /dev/null exchanged with a link to a file of the kernel's that the container wants."""
        pod = self.env.run_pod()
        self.device_folder()
        self.links(evil="/proc/sys/kernel/core_pattern")
        self.exchanging(pod, ("null", "evil"))
        masked = ["/proc/keys", "/proc/timer_list", "/proc/interrupts"]
        look = f"for f in {' '.join(masked)}; do stat -c 'COVER %F %t:%T' $f; done;" \
               "(echo x > /proc/sys/kernel/core_pattern) 2>&1 | grep -c Read-only; " + self.LOOK
        fields = {
            "mounts": [self.mount("/dev", self.volume)],
            "context": self.pb.LinuxContainerSecurityContext(masked_paths=masked, readonly_paths=["/proc/sys"]),
        }
        for lines in self.looks(pod, look, **fields):
            self.assertEqual(["COVER character special file 1:3"] * 3 + ["1"], lines[:4])
            self.assertNotIn("core_pattern", str(self.mounts(lines)))

    def test_the_terminal_is_put_nowhere_but_on_the_console(self):
        """CVE-2025-52565: /dev/console exchanged with a link to a file of the kernel's."""
        pod = self.env.run_pod()
        self.device_folder()
        (self.volume / "console").write_text("")
        self.links(evil="/proc/sys/kernel/core_pattern")
        self.exchanging(pod, ("console", "evil"))
        for lines in self.looks(pod, self.LOOK, mounts=[self.mount("/dev", self.volume)], tty=True):
            terminals = [target for _, target, kind in self.mounts(lines) if kind == "devpts"]
            # The console's mount goes along when the attacker renames it.
            self.assertLessEqual(set(terminals), {"/dev/pts", "/dev/console", "/dev/evil"})
            self.assertIn("/dev/pts", terminals)

    def test_what_is_written_to_proc_goes_to_the_kernel(self):
        """CVE-2025-52881: a volume in the place of /proc, with links where the runtime writes."""
        pb = self.pb
        pod = self.env.run_pod(self.env.pod_config(linux=pb.LinuxPodSandboxConfig(
            sysctls={"net.ipv4.ip_forward": "1"})))
        fake = self.volume / "fake"
        names = ["oom_score_adj", "attr/exec", "attr/apparmor/exec", "uid_map"]
        for process in ("self", "thread-self", "1"):
            for name in names:
                path = fake / process / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to("/volume/captured-" + name.replace("/", "-"))
        (fake / "sys/net/ipv4").mkdir(parents=True)
        (fake / "sys/net/ipv4/ip_forward").symlink_to("/volume/captured-sysctl")
        for name in [*names, "sysctl"]:
            (self.volume / ("captured-" + name.replace("/", "-"))).write_text("")
        resources = pb.LinuxContainerResources(oom_score_adj=555)
        config = self.env.container_config(name="main", script="sleep 1000", mounts=[
            self.mount("/volume", self.volume), self.mount("/proc", fake)])
        config.image.image = self.image
        config.linux.resources.CopyFrom(resources)
        container = self.env.create(*pod, config=config)
        self.env.start(container)
        pid = self.env.pid(container)
        self.assertEqual("555", pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text().strip())
        for _ in range(3):
            self.assertEqual("inside", self.env.exec(container, "echo", "inside")[1].strip())
        for path in self.volume.glob("captured-*"):
            self.assertEqual("", path.read_text(), path)

    def test_an_images_links_in_the_place_of_the_kernels_folders_lead_nowhere(self):
        """CVE-2019-16884 and CVE-2026-41579: /proc, /dev and /sys of the image are links."""
        for name in ("proc", "dev", "sys"):
            layer = Layer().symlink(name, str(self.outside))
            image = Image([busybox_layer(), layer], {"Env": ["PATH=/bin"], "Cmd": ["sh"]})
            reference = self.env.registry.push(image, f"test/linked-{name}", "1")
            self.env.pull(reference)
            self.addCleanup(self.env.cri.image.RemoveImage, image=self.pb.ImageSpec(image=reference))
            pod = self.env.run_pod()
            config = self.env.container_config(script="sleep 1000")
            config.image.image = reference
            with self.assertRaises(grpc.RpcError) as caught:
                self.env.create(*pod, config=config)
            self.assertIn("/" + name, caught.exception.details())
            self.assertHostUnharmed()


class SpyTest(AttackCase):
    SECRET = "PASSWORD OF ANOTHER CONTAINER"

    def spied(self, pid_mode, seccomp):
        """A pod with a spy that may trace, while others are executed and created around it; the spy's counts."""
        pb = self.pb
        config = self.env.pod_config()
        config.linux.security_context.namespace_options.pid = pid_mode
        pod = self.env.run_pod(config)
        # What the shim knows of a container elsewhere, in a process namespace of its own.
        other = self.env.container_config(name="other", script="sleep 1000", envs=[
            pb.KeyValue(key="SECRET", value=self.SECRET.encode())])
        other.image.image = self.image
        self.env.start(self.env.create(*pod, config=other))
        profile = pb.SecurityProfile(profile_type=seccomp)
        options = pb.NamespaceOption(pid=pid_mode)

        def context(*added):
            return pb.LinuxContainerSecurityContext(
                capabilities=pb.Capability(add_capabilities=added), seccomp=profile, namespace_options=options
            )

        words = self.SECRET.replace(" ", "+")
        allowed = USUAL_CAPABILITIES | SYS_PTRACE
        spy = self.running(
            pod, "spy", f"exec /attack/spy /tmp/report {self.outside}/marker {words} {allowed:x}",
            context=context("SYS_PTRACE"),
        )

        def counts():
            words = self.env.exec(spy, "cat", "/tmp/report")[1].split()
            return [int(word) for word in words]

        waiting.until(lambda: len(counts()) == 5, "the spy is at it")
        for index in range(40):
            self.assertEqual("done", self.env.exec(spy, "echo", "done")[1].strip())
            if index % 4 == 0:
                sibling = self.running(pod, f"sibling{index}", "sleep 1000", context=context())
                self.env.exec(sibling, "true")
                self.remove(sibling)
        waiting.until(lambda: counts()[1] > 0, "the spy caught a process that was still the runtime's", 60)
        return counts()

    def assertNothingFound(self, counts):
        seen, unknown, markers, secrets, privileges = counts
        self.assertGreater(seen, 0)
        self.assertGreater(unknown, 0)
        self.assertEqual((0, 0, 0), (markers, secrets, privileges), "host's files, secrets, privileges")

    def test_one_that_may_trace_learns_nothing_from_execs(self):
        Type = self.pb.SecurityProfile.ProfileType
        self.assertNothingFound(self.spied(self.pb.NamespaceMode.CONTAINER, Type.Unconfined))

    def test_one_that_may_trace_gains_no_privilege_from_filtered_execs(self):
        Type = self.pb.SecurityProfile.ProfileType
        self.assertNothingFound(self.spied(self.pb.NamespaceMode.CONTAINER, Type.RuntimeDefault))

    def test_one_that_may_trace_learns_nothing_from_its_neighbours(self):
        Type = self.pb.SecurityProfile.ProfileType
        self.assertNothingFound(self.spied(self.pb.NamespaceMode.POD, Type.RuntimeDefault))
