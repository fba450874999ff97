"""System call filters: where they come from, and who answers for them."""
import array
import errno
import fcntl
import json
import os
import socket
import struct
import threading

import grpc

from harness.case import Case

# linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp).
NOTIF_BYTES, RESPONSE_BYTES = 80, 24
NOTIF_RECV = 3 << 30 | NOTIF_BYTES << 16 | ord("!") << 8 | 0
NOTIF_SEND = 3 << 30 | RESPONSE_BYTES << 16 | ord("!") << 8 | 1


class Agent:
    """A listener as operators run them: takes filters, refuses every call with one errno, or lets all go on (0)."""

    def __init__(self, path, answer):
        self.answer, self.states, self.calls = answer, [], []
        self.taken = threading.Condition()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                fds = array.array("i")
                text, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(fds.itemsize))
                for level, kind, data in control:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
                with self.taken:
                    self.states.append((json.loads(text), len(fds)))
                    self.taken.notify_all()
            for fd in fds:
                threading.Thread(target=self._serve, args=(fd,), daemon=True).start()

    def _serve(self, fd):
        try:
            while True:
                notification = bytearray(NOTIF_BYTES)
                try:
                    fcntl.ioctl(fd, NOTIF_RECV, notification)
                except OSError as error:
                    if error.errno in (errno.EINTR,):
                        continue
                    return  # ENOENT: its last process is gone
                identity, pid = struct.unpack_from("=QI", notification)
                self.calls.append((pid, struct.unpack_from("=i", notification, 16)[0]))
                # SECCOMP_USER_NOTIF_FLAG_CONTINUE
                response = struct.pack("=QqiI", identity, 0, -self.answer, 0 if self.answer else 1)
                try:
                    fcntl.ioctl(fd, NOTIF_SEND, bytearray(response))
                except OSError:
                    pass
        finally:
            os.close(fd)

    def close(self):
        self.socket.close()


class SeccompTest(Case):
    def profile(self, name, content):
        path = self.env.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        self.addCleanup(path.unlink)
        return str(path)

    def localhost(self, path):
        pb = self.pb
        return pb.LinuxContainerConfig(
            security_context=pb.LinuxContainerSecurityContext(
                seccomp=pb.SecurityProfile(
                    profile_type=pb.SecurityProfile.ProfileType.Localhost, localhost_ref=path
                )
            )
        )

    def running(self, linux, pod=None):
        pod, config = pod or self.env.run_pod()
        container = self.env.create(pod, config, script="mkdir /tmp/by-the-first 2>/tmp/said; sleep 1000", linux=linux)
        self.env.start(container)
        return container

    def sh(self, container, script):
        return self.env.exec(container, "sh", "-c", script)[1].strip()

    def test_a_profile_of_the_node_is_applied_to_the_container_and_its_execs(self):
        path = self.profile("no-mkdir.json", {
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC},
                {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            ],
        })
        container = self.running(self.localhost(path))
        self.assertIn("No space left", self.sh(container, "mkdir /tmp/x 2>&1"))
        self.assertIn("No space left", self.sh(container, "until [ -s /tmp/said ]; do :; done; cat /tmp/said"))
        # Not a rule for a container without that capability.
        self.assertIn("No such file", self.sh(container, "rmdir /tmp/x 2>&1"))

    def test_the_deprecated_field_counts_unless_the_new_one_is_there(self):
        pb = self.pb
        path = self.profile("no-mkdir.json", {
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
        })
        for fields, expected in (
            ({"seccomp_profile_path": "localhost/" + path}, "not permitted"),
            ({"seccomp_profile_path": "localhost/" + path, "seccomp": pb.SecurityProfile(
                profile_type=pb.SecurityProfile.ProfileType.Unconfined)}, "made"),
        ):
            context = pb.LinuxContainerSecurityContext(**fields)
            container = self.running(pb.LinuxContainerConfig(security_context=context))
            self.assertIn(expected, self.sh(container, "mkdir /tmp/x 2>&1 && echo made"))

    def test_profiles_that_cannot_be_applied_are_refused_and_nothing_is_left(self):
        pod, config = self.env.run_pod()
        missing = str(self.env.folder / "nowhere.json")
        for path, word in (
            (missing, "nowhere.json: No such file"),
            (self.profile("broken.json", "{"), "broken.json: seccomp: the profile is not a JSON object"),
            (self.profile("action.json", {"defaultAction": "SCMP_ACT_PONDER"}), "\"SCMP_ACT_PONDER\" is no action"),
            ("relative.json", "not an absolute path"),
            (self.profile("mute.json", {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}), "no listenerPath"),
        ):
            with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, word):
                self.env.create(pod, config, script="true", linux=self.localhost(path))
        self.assertEqual([], list(self.env.cri.runtime.ListContainers().containers))

    def test_a_listener_answers_for_the_container_and_its_execs(self):
        self.only_belay()
        path = self.env.folder / "agent.sock"
        agent = Agent(path, errno.EXDEV)
        self.addCleanup(path.unlink)
        self.addCleanup(agent.close)
        linux = self.localhost(self.profile("ask.json", {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "listenerMetadata": "for \"tests\"",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }))
        container = self.running(linux)
        self.assertIn("cross-device", self.sh(container, "mkdir /tmp/x 2>&1").lower())
        self.assertIn("cross-device", self.sh(container, "until [ -s /tmp/said ]; do :; done; cat /tmp/said").lower())
        self.assertGreaterEqual(len(agent.states), 2)
        (first, fds), *rest = agent.states
        pid = first["pid"]
        self.assertEqual(1, fds)
        self.assertEqual(["seccompFd"], first["fds"])
        self.assertEqual("for \"tests\"", first["metadata"])
        self.assertEqual("creating", first["state"]["status"])
        self.assertEqual(container, first["state"]["id"])
        self.assertEqual(pid, first["state"]["pid"])
        self.assertTrue(os.path.isdir(first["state"]["bundle"]), first)
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            self.assertIn(container, file.read())
        for state, fds in rest:
            self.assertEqual("running", state["state"]["status"])
            self.assertEqual(pid, state["state"]["pid"])
            self.assertNotEqual(pid, state["pid"])
            self.assertEqual(1, fds)
        # mkdir(2) of this architecture.
        self.assertIn(83, [number for _, number in agent.calls])

    def test_a_listener_is_asked_about_the_last_steps_of_the_set_up_as_well(self):
        self.only_belay()
        path = self.env.folder / "agent.sock"
        agent = Agent(path, 0)
        self.addCleanup(path.unlink)
        self.addCleanup(agent.close)
        linux = self.localhost(self.profile("ask.json", {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
            "syscalls": [{"names": ["capget", "capset", "close", "read", "execve"], "action": "SCMP_ACT_NOTIFY"}],
        }))
        container = self.running(linux)
        self.assertEqual("42", self.sh(container, "echo 42"))
        # read, close, capget, capset, execve of this architecture.
        self.assertLessEqual({0, 3, 125, 126, 59}, {number for _, number in agent.calls})

    def test_a_listener_that_is_not_there_fails_the_creation(self):
        self.only_belay()
        linux = self.localhost(self.profile("ask.json", {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(self.env.folder / "nobody.sock"),
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }))
        pod, config = self.env.run_pod()
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.create(pod, config, script="true", linux=linux)
        self.assertIn("connect to the seccomp listener", caught.exception.details())
        self.assertIn("nobody.sock", caught.exception.details())
        self.assertEqual([], list(self.env.cri.runtime.ListContainers().containers))
