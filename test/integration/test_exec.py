"""ExecSync: what kubelet's exec probes use."""
import grpc

from harness import waiting
from harness.case import Case


class ExecTest(Case):
    def running(self, **fields):
        pod, config = self.env.run_pod(host_network=True)
        container = self.env.create(pod, config, script="sleep 1000", **fields)
        self.env.start(container)
        return container

    def test_output_streams_and_exit_code(self):
        container = self.running()
        self.assertEqual(
            (7, "out\n", "err\n"), self.env.exec(container, "sh", "-c", "echo out; echo err >&2; exit 7")
        )
        self.assertEqual((0, "", ""), self.env.exec(container, "true"))
        self.assertEqual(137, self.env.exec(container, "sh", "-c", "kill -9 $$")[0])

    def test_it_runs_as_the_containers_user_in_its_directory_and_environment(self):
        pb = self.pb
        container = self.running(
            envs=[pb.KeyValue(key="ROPE", value=b"dynamic")],
            working_dir="/tmp",
            linux=pb.LinuxContainerConfig(
                security_context=pb.LinuxContainerSecurityContext(run_as_user=pb.Int64Value(value=1000))
            ),
        )
        code, output, _ = self.env.exec(container, "sh", "-c", "echo $(id -u) $ROPE $(pwd)")
        self.assertEqual((0, "1000 dynamic /tmp\n"), (code, output))

    def test_a_command_that_is_not_there(self):
        container = self.running()
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.exec(container, "/bin/nosuchcommand")
        self.assertIn("nosuchcommand", caught.exception.details())

    def test_a_timeout_kills_the_whole_tree(self):
        container = self.running()
        with self.assertCode(grpc.StatusCode.DEADLINE_EXCEEDED):
            self.env.exec(container, "sh", "-c", "sleep 12345 & sleep 12345", timeout=1)

        def sleepers():
            return self.env.exec(container, "sh", "-c", "ps | grep -c '[s]leep 12345'")[1].strip()

        if self.env.daemon:
            waiting.until(lambda: sleepers() == "0", "no process of the exec is left")

    def test_a_descendant_that_keeps_the_output_open_does_not_hang_it(self):
        self.only_belay()
        container = self.running()
        self.assertEqual("now\n", self.env.exec(container, "sh", "-c", "sleep 60 & echo now")[1])

    def test_output_is_capped_at_16_mb(self):
        if not self.env.daemon:
            self.skipTest("peers answer with a message their own limits may refuse")
        container = self.running()
        reply = self.env.cri.runtime.ExecSync(
            container_id=container, cmd=["sh", "-c", "head -c 20000000 /dev/zero; echo done >&2"], timeout=30
        )
        self.assertLessEqual(len(reply.stdout), 16 * 1024 * 1024)
        self.assertGreater(len(reply.stdout), 15 * 1024 * 1024)
        self.assertEqual(b"done\n", reply.stderr)

    def test_not_in_a_container_that_does_not_run(self):
        pod, config = self.env.run_pod(host_network=True)
        container = self.env.create(pod, config, script="true")
        with self.assertCode(grpc.StatusCode.FAILED_PRECONDITION, container[:12]):
            self.env.exec(container, "true")
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "nosuchcontainer"):
            self.env.exec("nosuchcontainer", "true")

    def test_many_at_once(self):
        container = self.running()
        calls = [
            self.env.cri.runtime.ExecSync.future(container_id=container, cmd=["echo", str(n)], timeout=20)
            for n in range(30)
        ]
        self.assertEqual(
            [f"{n}\n".encode() for n in range(30)], [call.result().stdout for call in calls]
        )
