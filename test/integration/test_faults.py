"""belayd and shims are killed in the middle of what they do: the next start finishes or undoes it,
the client's next try succeeds, and nothing is left."""
import os
import select
import signal

import grpc

from harness import cgroups, leaks, waiting
from harness.case import Case
from harness.registry import Image

# How long each call takes here, roughly: the kills are spread over that time and a little more.
SPANS_MS = {
    "RunPodSandbox": 40, "CreateContainer": 12, "StartContainer": 8,
    "StopPodSandbox": 40, "RemovePodSandbox": 50, "PullImage": 250,
}
ROUNDS = 10


class KilledDaemonTest(Case):
    """kill -9 of belayd at ROUNDS moments of each call that changes something."""

    def setUp(self):
        super().setUp()
        self.only_belay()
        self.leases = self.env.leases()

    def strike(self, method, milliseconds, **request):
        """Sends the request, kills belayd so long after, starts another. Whether the first one had
        answered by then."""
        daemon = self.env.daemon
        call = method.future(**request)
        select.select([], [], [], milliseconds / 1000)
        daemon.process.kill()
        daemon.process.wait()
        answered = not isinstance(call.exception(), grpc.RpcError)
        daemon.kill()
        daemon.start()
        return answered

    def rounds(self, name, once):
        """`once(milliseconds)` with kills spread evenly over the call; it says whether the call had
        answered. What was left behind is looked for after each round."""
        answers = []
        for number in range(ROUNDS):
            delay = SPANS_MS[name] * number / (ROUNDS - 1)
            with self.subTest(call=name, killed_after_ms=round(delay, 1)):
                answers.append(once(delay))
                self.env.remove_everything()
                self.base.daemon_pid = None
                self.base.processes.add(self.env.daemon.process.pid)
                self.base.check()
                self.assertEqual(self.leases, self.env.leases())
        # Else the kills came at no interesting moment.
        self.assertIn(False, answers)

    def created(self):
        pod, config = self.env.run_pod()
        return pod, config, self.env.create(pod, config, script="sleep 1000")

    def assert_alive(self, container):
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))

    def test_in_RunPodSandbox(self):
        def once(delay):
            config = self.env.pod_config()
            answered = self.strike(self.env.cri.runtime.RunPodSandbox, delay, config=config)
            pod, _ = self.env.run_pod(config)
            # What the killed daemon had half made is listed as not ready until it is undone.
            waiting.until(
                lambda: [pod] == [item.id for item in self.env.cri.runtime.ListPodSandbox().items],
                "no pod is listed but the one that the retry made")
            container = self.env.create(pod, config, script="sleep 1000")
            self.env.start(container)
            self.assert_alive(container)
            return answered

        self.rounds("RunPodSandbox", once)

    def test_in_CreateContainer(self):
        def once(delay):
            pod, config = self.env.run_pod()
            spec = self.env.container_config(script="sleep 1000")
            os.makedirs(os.path.join(config.log_directory, "main"))
            answered = self.strike(
                self.env.cri.runtime.CreateContainer, delay,
                pod_sandbox_id=pod, config=spec, sandbox_config=config)
            container = self.env.create(pod, config, spec)
            listed = self.env.cri.runtime.ListContainers().containers
            self.assertEqual([container], [item.id for item in listed])
            self.env.start(container)
            self.assert_alive(container)
            return answered

        self.rounds("CreateContainer", once)

    def test_in_StartContainer(self):
        def once(delay):
            _, _, container = self.created()
            answered = self.strike(self.env.cri.runtime.StartContainer, delay, container_id=container)
            if self.env.status(container).state == self.pb.CONTAINER_CREATED:
                self.env.start(container)
            self.assertEqual(self.pb.CONTAINER_RUNNING, self.env.status(container).state)
            self.assert_alive(container)
            return answered

        self.rounds("StartContainer", once)

    def test_in_StopPodSandbox(self):
        def once(delay):
            pod, _, container = self.created()
            self.env.start(container)
            answered = self.strike(self.env.cri.runtime.StopPodSandbox, delay, pod_sandbox_id=pod)
            self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
            status = self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
            self.assertEqual(self.pb.SANDBOX_NOTREADY, status.state)
            self.assertEqual(self.pb.CONTAINER_EXITED, self.env.status(container).state)
            self.assertEqual(137, self.env.status(container).exit_code)
            self.assertEqual(self.leases, self.env.leases())
            return answered

        self.rounds("StopPodSandbox", once)

    def test_in_RemovePodSandbox(self):
        def once(delay):
            pod, _, container = self.created()
            self.env.start(container)
            answered = self.strike(self.env.cri.runtime.RemovePodSandbox, delay, pod_sandbox_id=pod)
            self.env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
            with self.assertCode(grpc.StatusCode.NOT_FOUND, pod[:12]):
                self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod)
            with self.assertCode(grpc.StatusCode.NOT_FOUND, container[:12]):
                self.env.status(container)
            return answered

        self.rounds("RemovePodSandbox", once)

    def test_in_PullImage(self):
        content = self.env.daemon.root / "content"
        folders = [content / "layers", content / "blobs/sha256", content / "ingest"]
        self.base.folders += folders
        self.base.files |= {entry.path for folder in folders for entry in os.scandir(folder)}

        def once(delay):
            image = Image(self.env.busybox_layers(f"killed {delay}\n"), {"Env": ["PATH=/bin"]})
            reference = self.env.registry.push(image, "test/killed", "1")
            spec = self.pb.ImageSpec(image=reference)
            answered = self.strike(self.env.cri.image.PullImage, delay, image=spec)
            self.assertEqual(image.id, self.env.pull(reference))
            pod, config = self.env.run_pod(host_network=True)
            container = self.env.container_config(script="cat /etc/salt")
            container.image.image = reference
            container = self.env.create(pod, config, container)
            self.env.start(container)
            self.assertEqual(0, self.env.wait_exited(container).exit_code)
            self.assertEqual([("stdout", "F", f"killed {delay}")], self.env.log_lines(config))
            self.env.remove_pod(pod)
            self.env.cri.image.RemoveImage(image=spec)
            return answered

        self.rounds("PullImage", once)


class LostShimTest(Case):
    """A shim is killed, and nobody can take its pod over since its record is gone."""

    def setUp(self):
        super().setUp()
        self.only_belay()

    def orphan(self, script):
        """A running container that no shim will care for; (pod, config, container)."""
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script=script)
        self.env.start(container)
        self.shim, = self.env.daemon.shims()
        os.unlink(self.env.daemon.state / "pods" / pod / "state")
        os.kill(self.shim, signal.SIGKILL)
        ready = self.pb.SANDBOX_READY
        waiting.until(
            lambda: self.env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status.state != ready,
            "the pod is not ready any more")
        return pod, config, container

    def test_exec_fails_with_a_sentence_and_the_pod_can_be_removed(self):
        pod, config, container = self.orphan("sleep 1000")
        self.assertIn(self.env.status(container).state, (self.pb.CONTAINER_UNKNOWN, self.pb.CONTAINER_EXITED))
        for call in (
            lambda: self.env.exec(container, "true"),
            lambda: self.env.cri.runtime.ReopenContainerLog(container_id=container),
        ):
            with self.assertRaises(grpc.RpcError) as caught:
                call()
            self.assertIn(container[:12], caught.exception.details())
            self.assertNotIn(caught.exception.code(), (grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED))
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, pod[:12]):
            self.env.create(pod, config, name="second", script="true")
        self.env.cri.runtime.StopContainer(container_id=container, timeout=2)
        status = self.env.status(container)
        self.assertEqual(self.pb.CONTAINER_EXITED, status.state)
        self.assertEqual(137, status.exit_code)
        self.env.cri.runtime.RemoveContainer(container_id=container)
        self.env.remove_pod(pod)

    def test_a_stop_honours_the_grace_without_a_shim(self):
        pod, config, container = self.orphan("trap 'exit 5' TERM; while :; do sleep 0.05; done")
        self.env.cri.runtime.StopContainer(container_id=container, timeout=10)
        self.assertEqual(5, self.env.status(container).exit_code)

    def test_the_next_attempt_outlives_the_removal_of_the_one_whose_shim_died(self):
        pod, config, _ = self.orphan("sleep 1000")
        with self.assertCode(grpc.StatusCode.ALREADY_EXISTS, pod[:12]):
            self.env.run_pod(config)
        config.metadata.attempt += 1
        # Both are in the cgroup that the pod has, as kubelet's attempts are.
        second, _ = self.env.run_pod(config)
        self.assertNotEqual(pod, second)
        container = self.env.create(second, config, script="sleep 1000")
        self.env.start(container)
        self.env.remove_pod(pod)
        self.assertEqual(self.pb.CONTAINER_RUNNING, self.env.status(container).state)
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))
        self.env.remove_pod(second)
        self.base.check()

    def test_attempts_with_a_shared_pid_namespace_do_not_share_its_init(self):
        config = self.env.pod_config()
        config.linux.security_context.namespace_options.pid = self.pb.POD
        first, _ = self.env.run_pod(config)
        self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=first)
        config.metadata.attempt += 1
        second, _ = self.env.run_pod(config)
        spec = self.env.container_config(script="sleep 1000")
        spec.linux.security_context.namespace_options.pid = self.pb.POD
        container = self.env.create(second, config, spec)
        self.env.start(container)
        self.env.cri.runtime.RemovePodSandbox(pod_sandbox_id=first)
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))
        self.env.remove_pod(second)
        self.base.check()

    def test_a_pods_cgroup_that_was_there_before_stays(self):
        if cgroups.DRIVER == "systemd":
            self.skipTest("with systemd no pod is in the client's cgroup itself")
        config = self.env.pod_config()
        parents = {path for path in leaks.cgroups(self.env.mark) if path.endswith("/kubepods")}
        paths = [os.path.join(parent, os.path.basename(config.linux.cgroup_parent)) for parent in parents]
        self.assertTrue(paths)
        for path in paths:
            os.mkdir(path)
        pod, _ = self.env.run_pod(config)
        shim, = self.env.daemon.shims()
        os.kill(shim, signal.SIGKILL)
        self.env.remove_pod(pod)
        for path in paths:
            os.rmdir(path)

    def test_an_exit_after_the_shims_death_is_reported_with_its_code(self):
        pod, config, container = self.orphan("while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 7")
        pids = [pid for pid in self.children(self.env.daemon.process.pid) if not self.is_keeper(pid)]
        self.assertEqual(1, len(pids), "the orphan is belayd's child")
        with open(f"/proc/{pids[0]}/root/tmp/go", "w"):
            pass
        self.assertEqual(7, self.env.wait_exited(container).exit_code)

    def test_killed_at_many_moments_of_a_containers_creation(self):
        runtime = self.env.cri.runtime
        for number in range(12):
            with self.subTest(round=number):
                self.env.remove_everything()
                pod, config = self.env.run_pod()
                shim, = self.env.daemon.shims()
                spec = self.env.container_config(script="sleep 1000")
                os.makedirs(os.path.join(config.log_directory, "main"))
                call = runtime.CreateContainer.future(pod_sandbox_id=pod, config=spec, sandbox_config=config)
                select.select([], [], [], number / 1000)
                os.kill(shim, signal.SIGKILL)
                container = call.result().container_id
                self.env.start(container)
                self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))
                self.env.remove_pod(pod)
                self.base.check()

    def is_keeper(self, pid):
        """Of a scope, with the systemd cgroup driver."""
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().startswith("belay-keeper")

    def children(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
