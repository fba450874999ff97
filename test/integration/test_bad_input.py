"""What cannot be done is refused with the right code and a sentence, and leaves nothing behind
(every test of this suite ends with the leak check)."""
import grpc

from harness.case import Case

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class BadPodTest(Case):
    def run_bad(self, code, *fragments, handler="", **fields):
        config = self.env.pod_config(host_network=True)
        for name, value in fields.items():
            getattr(config, name).CopyFrom(value)
        with self.assertCode(code, *fragments) as failure:
            self.env.cri.runtime.RunPodSandbox(config=config, runtime_handler=handler)
        self.assertEqual([], list(self.env.cri.runtime.ListPodSandbox().items))
        return failure

    def test_no_configuration(self):
        with self.assertCode(INVALID, "config"):
            self.env.cri.runtime.RunPodSandbox()

    def test_empty_metadata(self):
        pb = self.pb
        for missing in ("name", "namespace", "uid"):
            fields = {"name": "n", "namespace": "test", "uid": "u"}
            del fields[missing]
            self.run_bad(INVALID, f"metadata.{missing}", metadata=pb.PodSandboxMetadata(**fields))

    def test_an_unknown_runtime_handler(self):
        self.run_bad(NOT_FOUND, "nosuchhandler", handler="nosuchhandler")

    def test_a_sysctl_of_the_host(self):
        self.only_belay()
        config = self.env.pod_config()
        config.linux.sysctls["kernel.panic"] = "1"
        with self.assertCode(INVALID, "kernel.panic"):
            self.env.run_pod(config)

    def test_a_log_directory_that_is_no_absolute_path(self):
        self.only_belay()
        config = self.env.pod_config(host_network=True)
        config.log_directory = "relative/path"
        with self.assertCode(INVALID, "log_directory"):
            self.env.run_pod(config)

    def test_unknown_pods(self):
        runtime = self.env.cri.runtime
        with self.assertCode(NOT_FOUND, "nosuchpod"):
            runtime.PodSandboxStatus(pod_sandbox_id="nosuchpod")
        with self.assertCode(NOT_FOUND, "nosuchpod"):
            self.env.create("nosuchpod", self.env.pod_config(), script="true")

    def test_what_is_not_built_says_so(self):
        self.only_belay()
        with self.assertCode(grpc.StatusCode.UNIMPLEMENTED, "CheckpointContainer"):
            self.env.cri.runtime.CheckpointContainer(container_id="x", location="/tmp/x")


class BadContainerTest(Case):
    def setUp(self):
        super().setUp()
        self.pod, self.config = self.env.run_pod(host_network=True)

    def create_bad(self, code, *fragments, script="true", change=None, **fields):
        spec = self.env.container_config(script=script, **fields)
        if change:
            change(spec)
        with self.assertCode(code, *fragments) as failure:
            self.env.create(self.pod, self.config, spec)
        self.assertEqual([], list(self.env.cri.runtime.ListContainers().containers))
        return failure

    def test_empty_metadata(self):
        self.create_bad(INVALID, "metadata.name", change=lambda spec: spec.metadata.Clear())

    def test_an_image_that_was_not_pulled(self):
        def change(spec):
            spec.image.image = "registry.test/not/pulled:1"

        self.create_bad(NOT_FOUND, "registry.test/not/pulled:1", change=change)

    def test_no_command(self):
        from harness.registry import Image, Layer

        bare = Image([Layer().add("file", b"")])
        reference = self.env.registry.push(bare, "test/no-command", "1")
        self.env.pull(reference)
        self.addCleanup(
            lambda: self.env.cri.image.RemoveImage(image=self.pb.ImageSpec(image=bare.id))
        )

        def change(spec):
            spec.image.image = reference

        self.create_bad(INVALID, "command", script=None, change=change)

    def test_a_mount_source_that_is_not_there(self):
        self.only_belay()
        source = self.env.folder / "no" / "such" / "source"
        mount = self.pb.Mount(container_path="/mnt", host_path=str(source))
        self.create_bad(NOT_FOUND, str(source), mounts=[mount])
        self.assertFalse(source.parent.exists())

    def test_a_mount_without_a_container_path(self):
        self.only_belay()
        mount = self.pb.Mount(host_path="/tmp")
        self.create_bad(INVALID, "container_path", mounts=[mount])

    def test_a_group_without_a_user(self):
        context = self.pb.LinuxContainerSecurityContext(run_as_group=self.pb.Int64Value(value=5))
        self.create_bad(
            INVALID, "run_as_group", linux=self.pb.LinuxContainerConfig(security_context=context)
        )

    def test_a_user_the_image_does_not_have(self):
        context = self.pb.LinuxContainerSecurityContext(run_as_username="nosuchuser")
        self.create_bad(
            INVALID, "nosuchuser", linux=self.pb.LinuxContainerConfig(security_context=context)
        )

    def test_a_capability_that_does_not_exist(self):
        capabilities = self.pb.Capability(add_capabilities=["CAP_FLY"])
        context = self.pb.LinuxContainerSecurityContext(capabilities=capabilities)
        self.create_bad(
            INVALID, "CAP_FLY", linux=self.pb.LinuxContainerConfig(security_context=context)
        )

    def test_a_log_path_that_leaves_the_pods_folder(self):
        self.only_belay()
        self.create_bad(INVALID, "log_path", change=lambda spec: setattr(spec, "log_path", "../../x.log"))

    def test_a_program_that_is_not_there_fails_at_start_and_is_reported(self):
        container = self.env.create(self.pod, self.config, command=["/bin/nosuchprogram"])
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.start(container)
        self.assertIn("nosuchprogram", caught.exception.details())
        status = self.env.status(container)
        self.assertEqual(self.pb.CONTAINER_EXITED, status.state)
        self.assertEqual("StartError", status.reason)
        self.assertNotEqual(0, status.exit_code)

    def test_starting_twice_or_after_the_end(self):
        container = self.env.create(self.pod, self.config, script="true")
        self.env.start(container)
        self.env.wait_exited(container)
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, container[:12]):
            self.env.start(container)

    def test_in_a_stopped_pod(self):
        self.env.cri.runtime.StopPodSandbox(pod_sandbox_id=self.pod)
        self.create_bad(grpc.StatusCode.FAILED_PRECONDITION, self.pod[:12])

    def test_unknown_containers(self):
        runtime = self.env.cri.runtime
        for call in (runtime.ContainerStatus, runtime.StartContainer, runtime.ReopenContainerLog):
            with self.assertCode(NOT_FOUND, "nosuchcontainer"):
                call(container_id="nosuchcontainer")
