"""A pod's whole life, told as a kubelet tells it: each call is repeated until it succeeds, whatever dies meanwhile."""
import contextlib
import http.client
import os
import pathlib
import select
import time
import urllib.parse

import grpc

from cells import COMPANIONS, PATIENCE_S
from harness import failpoints, waiting
from harness.cri import messages
from harness.registry import Image, Layer
from harness.websocket import STDOUT, RemoteCommand

# Counts until it is told to stop, and then says how far it came.
COUNT = "i=0; trap 'echo end $i; exit 7' TERM; while :; do echo $i; i=$((i+1)); sleep 0.02; done"

# How the shell with a terminal ends when that hangs up: by the signal, or at the end of its input.
HUNG_UP = (1, 129)

# From a step's first try to its success.
LIMIT_S = 60
DEADLINE_S = 20
FINAL = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN)


class PodLost(Exception):
    """The pod is not ready any more, and a kubelet would make another one."""


class Scenario:
    def __init__(self, world, faults, number):
        self.world, self.faults, self.number = world, faults, number
        self.env, self.pb = world.env, messages()
        self.errors = []
        self.recreated = 0
        self.deadline = PATIENCE_S if any(fault.action == "delay" for fault in faults) else DEADLINE_S
        self.config = self.env.pod_config(name=f"fault-{number}")
        self.containers, self.configs = {}, {}

    @property
    def both_may_die(self):
        """Whether shim and belayd can be dead together. Where nobody else holds their descriptors, terminals get a
        hang-up then, and what a container wrote just before it exited may be lost."""
        faults = self.faults
        return any(fault.after_shim_death or (fault.program == "shim" and fault.action == "kill") for fault in faults) \
            and any(fault.at_start or (fault.program == "belayd" and fault.action == "kill") for fault in faults)

    @property
    def runtime(self):
        return self.world.cri.runtime

    # --- trying again

    def persist(self, what, step):
        """Calls `step` until it succeeds, and gives its result."""
        end = time.monotonic() + LIMIT_S
        while True:
            self.world.revive()
            try:
                return step()
            except (grpc.RpcError, OSError, ValueError, LookupError, AssertionError) as error:
                self._note(what, error)
                if time.monotonic() > end:
                    raise AssertionError(f"{what} never succeeds: {self.errors[-1]}") from None
            # One that was killed is not always dead when its connections are.
            if not self.world.revive(0.05):
                self._disarm_children()
            self._require_pod()

    def _note(self, what, error):
        """Remembers what the client met, once if it is the same again and again."""
        self._remember(what, error)
        if self.errors[-1:] == self.errors[-2:-1]:
            self.errors.pop()

    def _remember(self, what, error):
        if not isinstance(error, grpc.RpcError):
            self.errors.append(f"{what}: {error!r}")
            return
        code, details = error.code(), error.details() or ""
        self.errors.append(f"{what}: {code.name}: {details}")
        assert code not in FINAL, self.errors[-1]
        assert "reserved" not in details, self.errors[-1]
        if code == grpc.StatusCode.ALREADY_EXISTS:
            raise AssertionError(f"a retry must join or get the result: {self.errors[-1]}")

    def _require_pod(self):
        """Raises PodLost if the pod was ready and is not."""
        if not self.containers:
            return
        with contextlib.suppress(grpc.RpcError):
            status = self.runtime.PodSandboxStatus(pod_sandbox_id=self.pod, deadline=DEADLINE_S).status
            if status.state != self.pb.SANDBOX_READY and not self.stopping:
                raise PodLost

    def _disarm_children(self, *programs):
        """What is armed for processes that are to come would strike each of them."""
        for fault in self.faults:
            if fault.program in (programs or ("shim", "pull", "session")):
                self.world.arm(fault.point, "off")

    # --- the story

    def play(self):
        self.deaths_before = self.world.deaths
        self._arm()
        reference = self._push()
        self.persist("PullImage", lambda: self.world.cri.image.PullImage(
            image=self.pb.ImageSpec(image=reference), deadline=self.deadline))
        while True:
            self.stopping = False
            try:
                self._live(reference)
                break
            except PodLost:
                self._give_up_pod()
        self._end(reference)
        self._check_struck()

    def _arm(self):
        for fault in self.faults:
            if fault.at_start or fault.after_shim_death:
                continue
            if fault.point in COMPANIONS:
                self.world.arm(*COMPANIONS[fault.point].split("="))
            self.world.arm(fault.point, fault.setting)

    def _push(self):
        """An image of its own where the pull or its removal is struck, so that something has to be pulled."""
        if not any("image/" in fault.point or fault.program == "pull" for fault in self.faults):
            return self.env.image
        layers = [*self.env.busybox_layers(f"faults {self.number}"), Layer().add("second", str(self.number).encode())]
        return self.env.registry.push(Image(layers, {"Env": ["PATH=/bin"]}), "test/faults", str(self.number))

    def _live(self, reference):
        self.containers = {}
        self.pod = self.persist("RunPodSandbox", lambda: self.runtime.RunPodSandbox(
            config=self.config, deadline=self.deadline).pod_sandbox_id)
        # This pod's shim has its faults; who comes after it, should it die, has none.
        self._disarm_children("shim")
        self._create("count", reference, script=COUNT)
        self._create("fail", reference, script="echo about to fail; exit 42")
        self._create("terminal", reference, script="echo on a terminal; read code; exit $code", tty=True, stdin=True)
        for name in self.containers:
            self._start(name)
        self._restart_with_faults()
        self._kill_shim_with_faults()
        self._exec_sync()
        self._exec()
        self._upgrade_shim()
        self._attach()
        self._reopen_log()
        self.persist("the exit of a container", lambda: self._exited("fail", 42))
        lines = self.env.log_lines(self.config, "fail")
        assert lines == [("stdout", "F", "about to fail")] or (self.both_may_die and not lines), lines
        self._stop_counting()

    def _create(self, name, reference, script, **fields):
        config = self.configs[name] = self.env.container_config(name=name, script=script, **fields)
        config.image.image = reference
        config.metadata.attempt = self.config.metadata.attempt
        config.linux.security_context.namespace_options.CopyFrom(
            self.config.linux.security_context.namespace_options)
        os.makedirs(os.path.join(self.config.log_directory, name), exist_ok=True)
        self.containers[name] = None
        self._create_as_configured(name)

    def _create_as_configured(self, name):
        self.containers[name] = self.persist(f"CreateContainer {name}", lambda: self.runtime.CreateContainer(
            pod_sandbox_id=self.pod, config=self.configs[name], sandbox_config=self.config,
            deadline=self.deadline).container_id)

    def _create_again(self, name):
        """After a failed start, as a kubelet does."""
        self._disarm_children()
        self.persist("RemoveContainer", lambda: self.runtime.RemoveContainer(
            container_id=self.containers[name], deadline=self.deadline))
        for file in (pathlib.Path(self.config.log_directory) / name).iterdir():
            file.unlink()
        self.configs[name].metadata.attempt += 1
        self._create_as_configured(name)

    def _start(self, name):
        def step():
            # As a kubelet sees by its next look: what was started is not started again.
            status = self.env.status(self.containers[name])
            if status.reason == "StartError":
                self._create_again(name)
            if status.reason == "StartError" or status.started_at == 0:
                self.runtime.StartContainer(container_id=self.containers[name], deadline=self.deadline)

        self.persist(f"StartContainer {name}", step)

    def _restart_with_faults(self):
        if not any(fault.at_start for fault in self.faults):
            return
        due = [fault for fault in self.faults if fault.at_start or self._is_due(fault)]
        self.world.restart_with(";".join(map(str, due)))

    def _kill_shim_with_faults(self):
        faults = [fault for fault in self.faults if fault.after_shim_death]
        if not faults:
            return
        for fault in faults:
            self.world.arm(fault.point, fault.setting)
        belayd, shim = self.env.daemon.log_path, self.env.daemon.state / "pods" / self.pod / "shim.log"
        before = belayd.stat().st_size
        self.world.kill_shim(self.pod)

        def met():
            text = (belayd.read_bytes()[before:] + shim.read_bytes()).decode(errors="replace")
            return all(f"a failpoint acts; name = {fault.point};" in text for fault in faults) or self.world.is_dead(0)

        waiting.until(met, f"the next shim comes to {[str(fault) for fault in faults]}")
        self.world.revive(0.2)
        for fault in faults:
            self.world.arm(fault.point, "off")

    def _is_due(self, fault):
        """Whether belayd has still to come to it."""
        return fault.program == "belayd" and not (fault.at_start or fault.after_shim_death) and \
            self.world.passes(fault.point) < fault.on_pass

    def _exec_sync(self):
        def step():
            reply = self.runtime.ExecSync(
                container_id=self.containers["count"], cmd=["echo", "hello"], timeout=10, deadline=self.deadline)
            assert (reply.exit_code, reply.stdout) == (0, b"hello\n"), reply

        self.persist("ExecSync", step)

    def _connect(self, url):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        return RemoteCommand(connection, parts.path + ("?" + parts.query if parts.query else ""))

    def _exec(self):
        def step():
            url = self.runtime.Exec(
                container_id=self.containers["count"], cmd=["sh", "-c", "echo streamed; exit 3"], stdout=True,
                stderr=True, deadline=self.deadline).url
            out, _, status = self._connect(url).finish()
            assert out == b"streamed\n" and "exit code 3" in status["message"], (out, status)

        self.persist("Exec", step)

    def _upgrade_shim(self):
        """Where that is struck: it is an operator's, no kubelet's."""
        if not any(fault.point.startswith("shim.upgrade/") for fault in self.faults):
            return

        def step():
            done = failpoints.belayctl(self.env.daemon, "shim", "upgrade", self.pod)
            assert done.returncode == 0, done.stderr

        self.persist("belayctl shim upgrade", step)

    def _attach(self):
        terminal = self.containers["terminal"]

        def step():
            if self.env.status(terminal).state == self.pb.CONTAINER_EXITED:
                return
            url = self.runtime.Attach(
                container_id=terminal, stdin=True, stdout=True, tty=True, deadline=self.deadline).url
            client = self._connect(url)
            client.write(b"9\r")
            client.read_until(lambda: b"9" in client.output[STDOUT])
            client.finish()
            # What was typed is lost if the session was cut off then.
            self._exited("terminal", 9, seconds=2)

        self.persist("Attach", step)
        self._exited("terminal", 9)
        assert ("stdout", "F", "on a terminal") in self.env.log_lines(self.config, "terminal")

    def _reopen_log(self):
        log = self._log("count", "0.log")
        waiting.until(lambda: len(self._numbers()) > 5, "the container counts")
        if not self._log("count", "0.log.1").exists():
            os.rename(log, self._log("count", "0.log.1"))
        self.persist("ReopenContainerLog", lambda: self.runtime.ReopenContainerLog(
            container_id=self.containers["count"], deadline=self.deadline))
        waiting.until(log.exists, "the new log is there")

    def _stop_counting(self):
        count = self.containers["count"]
        self.persist("StopContainer", lambda: self.runtime.StopContainer(
            container_id=count, timeout=10, deadline=self.deadline))
        self._exited("count", 7)
        *numbers, (word, said) = self._numbers()
        assert word == "end", f"the last line is {word} {said}"
        assert numbers == list(range(len(numbers))), f"lines are missing or doubled: {numbers}"
        assert len(numbers) in (said, said + 1), f"{len(numbers)} lines, and the container says {said}"

    def _end(self, reference):
        self.stopping = True
        runtime = self.runtime
        for name in ("fail", "terminal"):
            self.persist("RemoveContainer", lambda name=name: self.runtime.RemoveContainer(
                container_id=self.containers[name], deadline=self.deadline))
        self._remove_pod()
        if reference != self.env.image:
            spec = self.pb.ImageSpec(image=reference)
            self.persist("RemoveImage", lambda: self.world.cri.image.RemoveImage(image=spec, deadline=self.deadline))
            self.persist("RemoveImage", lambda: self.world.cri.image.RemoveImage(image=spec, deadline=self.deadline))

    def _remove_pod(self):
        self.persist("StopPodSandbox", lambda: self.runtime.StopPodSandbox(
            pod_sandbox_id=self.pod, deadline=self.deadline))
        self.persist("RemovePodSandbox", lambda: self.runtime.RemovePodSandbox(
            pod_sandbox_id=self.pod, deadline=self.deadline))

        def gone():
            listed = [item.id for item in self.runtime.ListPodSandbox(deadline=DEADLINE_S).items]
            assert listed == [self.world.survivor.pod], f"pods are listed that should be gone: {listed}"

        self.persist("ListPodSandbox", gone)

    def _give_up_pod(self):
        self.stopping = True
        self.recreated += 1
        self._disarm_children()
        self._remove_pod()
        self.config.metadata.attempt += 1
        for folder in pathlib.Path(self.config.log_directory).iterdir():
            for file in folder.iterdir():
                file.unlink()

    def _check_struck(self):
        """A fault that nothing met proves nothing. (Those of other processes are told by what they break; and what
        was armed in a belayd that was killed is not armed any more.)"""
        self.unmet = []
        if self.world.deaths == self.deaths_before:
            self.unmet = [str(fault) for fault in self.faults if self._is_due(fault)]
        for fault in self.faults:
            if not fault.at_start:
                self.world.arm(fault.point, "off")

    # --- what is seen

    def _log(self, name, file):
        return pathlib.Path(self.config.log_directory) / name / file

    def _numbers(self):
        rows = []
        for file in ("0.log.1", "0.log"):
            path = self._log("count", file)
            if path.exists():
                for line in path.read_text().split("\n")[:-1]:
                    text = line.split(" ", 3)[3]
                    rows.append(("end", int(text[4:])) if text.startswith("end") else int(text))
        return rows

    def _exited(self, name, code, seconds=20):
        status = self.env.wait_exited(self.containers[name], seconds)
        hung_up = name == "terminal" and self.both_may_die and status.exit_code in HUNG_UP
        assert status.exit_code == code or hung_up, f"container {name} exited with {status.exit_code}, not {code}: {status}"
        return True
