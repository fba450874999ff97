"""A pod's and a container's whole life, as the CRI describes it."""
import grpc

from harness.case import Case


class LifeTest(Case):
    def test_a_pod_runs_a_container_and_goes_away(self):
        pb, env = self.pb, self.env
        pod, config = env.run_pod()
        status = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(pb.SANDBOX_READY, status.state)
        self.assertEqual(config.metadata, status.metadata)
        self.assertEqual(dict(config.labels), dict(status.labels))
        self.assertGreater(status.created_at, 0)

        container = env.create(pod, config, script="echo out; echo err >&2; exit 3")
        created = env.status(container)
        self.assertEqual(pb.CONTAINER_CREATED, created.state)
        self.assertEqual(0, created.started_at)
        if env.daemon:
            self.assertEqual(env.busybox.id, created.image_ref)
            self.assertEqual(env.busybox.id, created.image_id)

        env.start(container)
        exited = env.wait_exited(container)
        self.assertEqual(3, exited.exit_code)
        self.assertEqual("Error", exited.reason)
        self.assertLessEqual(created.created_at, exited.started_at)
        self.assertLessEqual(exited.started_at, exited.finished_at)
        self.assertEqual(
            {("stdout", "F", "out"), ("stderr", "F", "err")}, set(env.log_lines(config))
        )

        env.cri.runtime.RemoveContainer(container_id=container)
        with self.assertCode(grpc.StatusCode.NOT_FOUND, container[:12]):
            env.status(container)
        env.remove_pod(pod)
        with self.assertCode(grpc.StatusCode.NOT_FOUND, pod[:12]):
            env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod)

    def test_stop_and_remove_are_idempotent(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        for _ in range(2):
            env.cri.runtime.StopContainer(container_id=container, timeout=0)
        for _ in range(2):
            env.cri.runtime.RemoveContainer(container_id=container)
        for _ in range(2):
            env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        for _ in range(2):
            env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
        env.cri.runtime.StopContainer(container_id="nosuchcontainer", timeout=1)
        env.cri.runtime.StopPodSandbox(pod_sandbox_id="nosuchpod")

    def test_stop_gives_the_process_its_grace(self):
        env = self.env
        pod, config = env.run_pod(host_network=True)
        container = env.create(
            pod, config, script="trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        )
        env.start(container)
        self.wait_for_line(config, "ready")
        env.cri.runtime.StopContainer(container_id=container, timeout=10)
        status = env.status(container)
        self.assertEqual(5, status.exit_code)
        self.assertIn(("stdout", "F", "bye"), env.log_lines(config))

    def test_stop_kills_what_ignores_the_signal(self):
        env = self.env
        pod, config = env.run_pod(host_network=True)
        container = env.create(
            pod, config, script="trap '' TERM; echo ready; while :; do sleep 0.05; done"
        )
        env.start(container)
        self.wait_for_line(config, "ready")
        env.cri.runtime.StopContainer(container_id=container, timeout=1)
        self.assertEqual(137, env.status(container).exit_code)

    def test_stopping_a_pod_kills_its_containers(self):
        env, pb = self.env, self.pb
        pod, config = env.run_pod()
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pod)
        self.assertEqual(pb.CONTAINER_EXITED, env.status(container).state)
        status = env.cri.runtime.PodSandboxStatus(pod_sandbox_id=pod).status
        self.assertEqual(pb.SANDBOX_NOTREADY, status.state)

    def test_removing_a_pod_removes_its_running_containers(self):
        env = self.env
        pod, config = env.run_pod()
        container = env.create(pod, config, script="sleep 1000")
        env.start(container)
        env.cri.runtime.RemovePodSandbox(pod_sandbox_id=pod)
        with self.assertCode(grpc.StatusCode.NOT_FOUND):
            env.status(container)

    def test_removing_a_container_and_its_pod_at_once(self):
        """As the kubelet's two collectors of garbage may."""
        env = self.env
        for script in ["true", "sleep 1000"] * 5:
            pod, config = env.run_pod(host_network=True)
            container = env.create(pod, config, script=script)
            env.start(container)
            calls = [
                env.cri.runtime.RemovePodSandbox.future(pod_sandbox_id=pod),
                env.cri.runtime.RemoveContainer.future(container_id=container),
                env.cri.runtime.RemoveContainer.future(container_id=container),
            ]
            for call in calls:
                call.result()
        self.assertFalse(env.cri.runtime.ListContainers().containers)

    def test_a_repeated_request_gets_the_same_result(self):
        self.only_belay()
        env = self.env
        pod, config = env.run_pod()
        self.assertEqual(pod, env.run_pod(config)[0])
        first = env.create(pod, config, script="sleep 1000")
        self.assertEqual(first, env.create(pod, config, script="sleep 1000"))

    def test_simultaneous_requests_for_one_pod_join(self):
        self.only_belay()
        env = self.env
        config = env.pod_config()
        calls = [env.cri.runtime.RunPodSandbox.future(config=config) for _ in range(8)]
        self.assertEqual(1, len({call.result().pod_sandbox_id for call in calls}))

    def test_lists_filter_by_id_state_and_labels(self):
        env, pb = self.env, self.pb
        pods = [env.run_pod(host_network=True) for _ in range(2)]
        containers = [
            env.create(pod, config, script="sleep 1000") for pod, config in pods
        ]
        env.start(containers[0])

        def listed(**filters):
            reply = env.cri.runtime.ListContainers(filter=pb.ContainerFilter(**filters))
            return {item.id for item in reply.containers}

        self.assertEqual({containers[1]}, listed(id=containers[1]))
        self.assertEqual({containers[1]}, listed(pod_sandbox_id=pods[1][0]))
        self.assertLessEqual(set(containers), listed(label_selector={"container": "main"}))
        self.assertEqual(set(), listed(label_selector={"container": "other"}))
        running = pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)
        self.assertIn(containers[0], listed(state=running))
        self.assertNotIn(containers[1], listed(state=running))

        def sandboxes(**filters):
            reply = env.cri.runtime.ListPodSandbox(filter=pb.PodSandboxFilter(**filters))
            return {item.id for item in reply.items}

        name = pods[0][1].metadata.name
        self.assertEqual({pods[0][0]}, sandboxes(label_selector={"test": name}))
        self.assertEqual({pods[0][0]}, sandboxes(id=pods[0][0][:20]))
        env.cri.runtime.StopPodSandbox(pod_sandbox_id=pods[0][0])
        ready = pb.PodSandboxStateValue(state=pb.SANDBOX_READY)
        self.assertNotIn(pods[0][0], sandboxes(state=ready))
        self.assertIn(pods[1][0], sandboxes(state=ready))

    def test_environment_directory_user_and_arguments_reach_the_process(self):
        env, pb = self.env, self.pb
        pod, config = env.run_pod(host_network=True)
        container = env.create(
            pod,
            config,
            script='echo "$0 $1 $BYTES $FROM_IMAGE $(pwd) $(id -u):$(id -g):$(id -G)"',
            args=["zero", "one"],
            envs=[pb.KeyValue(key="BYTES", value=b"caf\xc3\xa9")],
            working_dir="/made/for/it",
            linux=pb.LinuxContainerConfig(
                security_context=pb.LinuxContainerSecurityContext(
                    run_as_username="alice", supplemental_groups=[77]
                )
            ),
        )
        env.start(container)
        env.wait_exited(container)
        self.assertEqual(
            [("stdout", "F", "zero one café yes /made/for/it 1000:1000:1000 77 2000")],
            [(s, t, " ".join(text.split()[:5] + sorted_ids(text))) for s, t, text in env.log_lines(config)],
        )

    def wait_for_line(self, config, text):
        from harness import waiting

        waiting.until(
            lambda: any(line == text for _, _, line in self.env.log_lines(config)),
            f"{text!r} in the container's log",
        )


def sorted_ids(text):
    """["uid:gid:first-group rest..."] with the groups in order: theirs is not specified."""
    uid, gid, first = text.split()[5].split(":")
    groups = sorted({int(first), *map(int, text.split()[6:])})
    return [f"{uid}:{gid}:1000"] + [str(group) for group in groups if group != 1000]
