"""A request has one result: who gave up waiting and asks again joins the work, or gets what it made; what a killed
daemon left half-made is undone before it is made anew; and a pod that hangs holds up nobody else."""
import contextlib
import ctypes
import os
import pathlib
import threading
import time

import grpc

from harness import failpoints, leaks, waiting
from harness.case import Case
from harness.registry import Image

LIBC = ctypes.CDLL(None, use_errno=True)
MNT_FORCE, MNT_DETACH = 1, 2


class OneResultTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        self.addCleanup(self.disarm)

    def disarm(self):
        if self.env.daemon.process is None:
            self.env.daemon.start()
        for name, (action, _) in failpoints.actions(self.env.daemon).items():
            if action != "off":
                failpoints.arm(self.env.daemon, name, "off")

    def arm(self, point, action):
        failpoints.arm(self.env.daemon, point, action)

    def twice(self, point, call):
        """The result of a call whose first try was given up while it stood at `point`; the client's second try comes
        before the work has ended."""
        self.arm(point, "delay:1000")
        with self.assertRaises(grpc.RpcError) as caught:
            call(deadline=0.3)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.code())
        result = call(deadline=20)
        # Done by one run of the work: the second one would have passed the point again.
        self.assertEqual(("done", 1), failpoints.actions(self.env.daemon)[point])
        return result

    def pods(self):
        return [item.id for item in self.env.cri.runtime.ListPodSandbox().items]

    def containers(self):
        return [item.id for item in self.env.cri.runtime.ListContainers().containers]

    def container_spec(self, config, **fields):
        spec = self.env.container_config(**fields)
        spec.linux.security_context.namespace_options.CopyFrom(config.linux.security_context.namespace_options)
        os.makedirs(os.path.join(config.log_directory, spec.metadata.name), exist_ok=True)
        return spec

    def create(self, pod, config, spec, **options):
        return self.env.cri.runtime.CreateContainer(
            pod_sandbox_id=pod, config=spec, sandbox_config=config, **options).container_id

    # --- joining

    def test_a_retry_of_RunPodSandbox_joins(self):
        config = self.env.pod_config()
        pod = self.twice("belayd.run-pod-sandbox/before-network-record",
                         lambda **options: self.env.cri.runtime.RunPodSandbox(config=config, **options)).pod_sandbox_id
        self.assertEqual([pod], self.pods())
        self.assertEqual(pod, self.env.run_pod(config)[0])

    def test_a_retry_of_CreateContainer_joins(self):
        pod, config = self.env.run_pod()
        spec = self.container_spec(config, script="sleep 1000")
        container = self.twice("belayd.create-container/after-shim",
                               lambda **options: self.create(pod, config, spec, **options))
        self.assertEqual([container], self.containers())
        self.assertEqual(container, self.create(pod, config, spec))

    def test_a_retry_of_StartContainer_joins(self):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="echo once; sleep 1000")
        self.twice("belayd.start-container/after-shim",
                   lambda **options: self.env.cri.runtime.StartContainer(container_id=container, **options))
        self.env.start(container)
        waiting.until(lambda: self.env.log_lines(config), "the container's log")
        self.assertEqual([("stdout", "F", "once")], self.env.log_lines(config))

    def test_a_retry_of_PullImage_joins(self):
        image = Image(self.env.busybox_layers("one result\n"), {"Env": ["PATH=/bin"]})
        spec = self.pb.ImageSpec(image=self.env.registry.push(image, "test/one-result", "1"))
        reply = self.twice("belayd.pull-image/before-record",
                           lambda **options: self.env.cri.image.PullImage(image=spec, **options))
        self.assertEqual(image.id, reply.image_ref)
        self.env.cri.image.RemoveImage(image=spec)

    # --- a name and another configuration

    def test_another_configuration_under_a_pods_name_is_refused(self):
        config = self.env.pod_config()
        other = self.pb.PodSandboxConfig()
        other.CopyFrom(config)
        other.labels["changed"] = "yes"
        self.arm("belayd.run-pod-sandbox/before-network-record", "delay:700")
        first = self.env.cri.runtime.RunPodSandbox.future(config=config)
        waiting.until(lambda: "run-pod-sandbox" in failpoints.belayctl(self.env.daemon, "operations").stdout,
                      "the pod is being made")
        with self.assertCode(grpc.StatusCode.ALREADY_EXISTS, config.metadata.name, "something else"):
            self.env.run_pod(other)
        pod = first.result().pod_sandbox_id
        with self.assertCode(grpc.StatusCode.ALREADY_EXISTS, pod, "another configuration"):
            self.env.run_pod(other)
        self.assertEqual([pod], self.pods())

    def test_another_configuration_under_a_containers_name_is_refused(self):
        pod, config = self.env.run_pod()
        container = self.create(pod, config, self.container_spec(config, script="sleep 1000"))
        with self.assertCode(grpc.StatusCode.ALREADY_EXISTS, container, "another configuration"):
            self.create(pod, config, self.container_spec(config, script="sleep 999"))
        self.assertEqual([container], self.containers())

    # --- what a killed daemon left

    def killed_at(self, point, call):
        """Kills belayd at `point` of the call, and starts a successor with `failpoints`."""
        self.arm(point, "kill")
        with self.assertRaises(grpc.RpcError):
            call()
        self.env.daemon.process.wait(timeout=20)
        self.env.daemon.kill()

    def start_with(self, settings):
        failpoints.start_with(self.env.daemon, settings)
        self.env.cri.wait_until_serving()

    def test_a_half_made_pod_is_undone_before_it_is_made_anew(self):
        config = self.env.pod_config()
        self.killed_at("belayd.run-pod-sandbox/after-network-record", lambda: self.env.run_pod(config))
        self.start_with("belayd.teardown/before-network=delay:700")
        pod, _ = self.env.run_pod(config)
        self.assertEqual([pod], self.pods())
        container = self.env.create(pod, config, script="sleep 1000")
        self.env.start(container)

    def test_a_half_made_container_is_undone_before_it_is_made_anew(self):
        pod, config = self.env.run_pod()
        spec = self.container_spec(config, script="sleep 1000")
        self.killed_at("belayd.create-container/after-shim", lambda: self.create(pod, config, spec))
        self.start_with("belayd.remove-container/after-removing-record=delay:700")
        container = self.create(pod, config, spec)
        self.assertEqual([container], self.containers())
        self.env.start(container)

    def plugin(self, script):
        """Replaces the network's plug-in, for this test, by a shell script that ends with the real one."""
        folder = self.env.daemon.plugins
        folder.mkdir(exist_ok=True)
        (folder / "bridge").write_text(f"#!/bin/sh\n{script}\nexec /usr/lib/cni/bridge\n")
        (folder / "bridge").chmod(0o755)
        self.addCleanup((folder / "bridge").unlink)

    def test_what_a_plugin_left_running_is_dead_before_its_work_is_undone(self):
        notes = self.env.daemon.folder / "notes"
        self.addCleanup(notes.unlink)
        # ADD starts a process that outlives it and its group, and hangs itself; DEL notes whether that one lives.
        self.plugin(
            "case $CNI_COMMAND in\n"
            f"ADD) [ -e {notes} ] || {{ setsid sh -c 'echo $$ >{notes}; exec sleep 1000' & sleep 1000; }};;\n"
            f"DEL) read pid <{notes}; case $(cut -d ' ' -f 3 /proc/$pid/stat) in Z|'') echo dead;; *) echo alive;; esac >>{notes};;\n"
            "esac")
        config = self.env.pod_config()
        self.env.cri.runtime.RunPodSandbox.future(config=config)
        waiting.until(lambda: notes.exists() and notes.read_text().endswith("\n"), "the plug-in has left a process")
        pid = int(notes.read_text())
        self.env.daemon.kill()
        self.assertTrue(os.path.exists(f"/proc/{pid}"), "it is to outlive belayd")
        self.env.daemon.start()
        pod, _ = self.env.run_pod(config)
        self.assertEqual([pod], self.pods())
        self.assertEqual([str(pid), "dead"], notes.read_text().split())

    def test_what_a_killed_daemon_left_of_a_pull_is_dead_before_the_pull_is_repeated(self):
        image = Image(self.env.busybox_layers("left over\n"), {"Env": ["PATH=/bin"]})
        reference = self.env.registry.push(image, "test/left-over", "1")
        self.arm("pull.unpack/before-report", "delay:600000")
        self.env.cri.image.PullImage.future(image=self.pb.ImageSpec(image=reference))
        waiting.until(lambda: self.pullers("unpack"), "the image is being unpacked")
        former = self.pullers("")
        self.env.daemon.kill()
        self.env.daemon.start()
        self.assertEqual(set(), former & self.pullers(""))
        self.assertEqual(image.id, self.env.pull(reference))
        self.env.cri.image.RemoveImage(image=self.pb.ImageSpec(image=reference))

    def pullers(self, mode):
        found = leaks.processes(self.env.mark)
        return {pid for pid, command in found.items() if f"belay-pull {mode}" in command}

    # --- nobody waits for another's pod

    def assert_others_are_served(self, seconds=5):
        """A whole life of another pod while one hangs, in a time that shows no waiting."""
        began = time.monotonic()
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="sleep 1000")
        self.env.start(container)
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))
        self.assertIn(pod, self.pods())
        self.env.remove_pod(pod)
        self.assertLess(time.monotonic() - began, seconds)

    def test_a_plugin_that_never_ends_holds_up_its_own_pod_only(self):
        stuck = self.env.daemon.folder / "stuck"
        self.addCleanup(stuck.unlink)
        self.plugin(
            f'case "$CNI_COMMAND $CNI_ARGS" in "ADD "*K8S_POD_NAME=stuck*) echo $$ >{stuck}; exec sleep 1000;; esac')
        config = self.env.pod_config(name="stuck")
        hanging = self.env.cri.runtime.RunPodSandbox.future(config=config)
        waiting.until(lambda: stuck.exists() and stuck.read_text(), "the plug-in hangs")
        self.assert_others_are_served()
        self.assertFalse(hanging.done())
        operations = failpoints.belayctl(self.env.daemon, "operations").stdout
        self.assertIn("add the pod to its network", operations)
        # An operator's way out.
        os.kill(int(stuck.read_text()), 9)
        self.assertIn("CNI ADD by the plug-in bridge", hanging.exception().details())

    def test_a_volume_that_hangs_holds_up_its_own_pod_only(self):
        with HungVolume(self.env.folder / "hung") as volume:
            pod, config = self.env.run_pod()
            mount = self.pb.Mount(container_path="/data", host_path=f"{volume.path}/data")
            spec = self.container_spec(config, script="sleep 1000", mounts=[mount])
            hanging = self.env.cri.runtime.CreateContainer.future(
                pod_sandbox_id=pod, config=spec, sandbox_config=config)
            volume.wait_until_asked()
            self.assert_others_are_served()
            # Nor the pod's own other containers.
            container = self.env.create(pod, config, name="other", script="sleep 1000")
            self.env.start(container)
            self.assertFalse(hanging.done())
            self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
            # Its process cannot be killed, and is not forgotten.
            with self.assertCode(grpc.StatusCode.INTERNAL, "does not die", "hangs in the kernel"):
                self.env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
            self.assertIsNotNone(hanging.exception())
            volume.abort()
            self.env.remove_pod(pod)


class HungVolume:
    """A FUSE file system that mounts and then never answers: what looks into it waits as for a dead server."""

    INIT, MAX_READ = 26, 1 << 17

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.asked = threading.Event()

    def __enter__(self):
        self.path.mkdir()
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"hung", bytes(self.path), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), "mount a FUSE file system")
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        """Answers the kernel's first question (fuse(4), FUSE_INIT), and no other."""
        with contextlib.suppress(OSError):
            while True:
                request = os.read(self.device, self.MAX_READ)
                operation = int.from_bytes(request[4:8], "little")
                if operation != self.INIT:
                    self.asked.set()
                    continue
                body = b"".join(number.to_bytes(4, "little") for number in (7, 31, 0, 0))
                body += b"\0" * 4 + (4096).to_bytes(4, "little") + b"\0" * 40
                head = (16 + len(body)).to_bytes(4, "little") + b"\0" * 4 + request[8:16]
                os.write(self.device, head + body)

    def wait_until_asked(self):
        if not self.asked.wait(20):
            raise AssertionError("nobody looked into the volume")

    def abort(self):
        """As when a server comes back to say that it has lost everything: whoever waits gets an error."""
        LIBC.umount2(bytes(self.path), MNT_FORCE)

    def __exit__(self, *error):
        LIBC.umount2(bytes(self.path), MNT_FORCE | MNT_DETACH)
        os.close(self.device)
        self.path.rmdir()
