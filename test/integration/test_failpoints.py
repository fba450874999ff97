"""Failpoints as a person sets them: by belayctl, for belayd, for a pod's shim and for what belayd starts."""
import subprocess

import grpc

from harness import failpoints
from harness.case import Case


class FailpointTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def refused(self, *words):
        done = failpoints.belayctl(self.env.daemon, "debug", "failpoint", *words)
        self.assertNotEqual(0, done.returncode)
        return done.stderr

    def test_those_of_belayd_are_listed_set_and_met(self):
        point = "belayd.run-pod-sandbox/after-intent"
        self.assertEqual(("off", 0), failpoints.actions(self.env.daemon)[point])
        failpoints.arm(self.env.daemon, point, "fail*2")
        self.assertEqual(("fail*2", 0), failpoints.actions(self.env.daemon)[point])
        config = self.env.pod_config()
        for _ in range(2):
            with self.assertCode(grpc.StatusCode.INTERNAL, f"failpoint {point}"):
                self.env.run_pod(config)
        self.assertEqual(("done", 2), failpoints.actions(self.env.daemon)[point])
        self.env.run_pod(config)
        failpoints.arm(self.env.daemon, point, "off")

    def test_those_of_a_shim_are_its_own(self):
        pod, config = self.env.run_pod()
        failpoints.arm(self.env.daemon, "shim.create-container/after-cgroup", "fail", pod)
        other, other_config = self.env.run_pod()
        self.env.create(other, other_config, script="true")
        with self.assertCode(grpc.StatusCode.INTERNAL, "failpoint shim.create-container/after-cgroup"):
            self.env.create(pod, config, script="true")
        self.env.create(pod, config, script="true")
        self.assertNotIn("belayd.run-pod-sandbox/after-intent", failpoints.actions(self.env.daemon, pod))

    def test_a_slip_of_the_pen_is_refused(self):
        pod, _ = self.env.run_pod()
        self.assertIn("there is no failpoint belayd.run-pod/x", self.refused("belayd.run-pod/x", "kill"))
        self.assertIn("'die' is no action", self.refused("belayd.run-pod-sandbox/after-intent", "die"))
        self.assertIn("there is no failpoint shim.x/y", self.refused("shim.x/y", "kill", "--pod", pod))
        self.assertIn("no pod sandbox", self.refused("shim.x/y", "kill", "--pod", "nosuchpod"))

    def test_a_belayd_whose_environment_names_none_does_not_start(self):
        daemon = self.env.daemon
        daemon.kill()
        failpoints.start_with(daemon, "belayd.run-pod/x=kill")
        try:
            self.assertNotEqual(0, daemon.process.wait(timeout=20))
        except subprocess.TimeoutExpired:
            self.fail("it serves")
        self.assertIn("there is no failpoint belayd.run-pod/x", daemon.log_tail(3))
        daemon.kill()
