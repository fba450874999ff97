"""Probes of all kinds, passing and failing."""
from harness.kubelet_case import KubeletCase, exec_probe, http_probe, is_ready, statuses

# Serves /tmp/www on port 8080 until told to stop.
SERVER = "mkdir -p /tmp/www; echo yes > /tmp/www/ready; httpd -p 8080 -h /tmp/www; sleep 1000000 & wait"


class ReadinessTest(KubeletCase):
    def toggles(self, name):
        """The file `/tmp/www/ready` decides, and nothing is restarted for it."""
        pod = self.wait_ready(name)
        container = self.container_id(pod)
        self.env.exec(container, "rm", "/tmp/www/ready")
        self.wait_pod(name, lambda pod: not is_ready(pod), "is not ready without the file")
        self.env.exec(container, "touch", "/tmp/www/ready")
        pod = self.wait_ready(name)
        self.assertEqual(container, self.container_id(pod))
        self.assertEqual(0, statuses(pod)["main"]["restartCount"])

    def test_exec(self):
        self.run_pod("by-exec", self.container(script=SERVER, readinessProbe=exec_probe("cat /tmp/www/ready")))
        self.toggles("by-exec")

    def test_http(self):
        self.run_pod("by-http", self.container(script=SERVER, readinessProbe=http_probe("/ready", 8080)))
        self.toggles("by-http")

    def test_an_exec_that_hangs_has_failed(self):
        probe = exec_probe("test -e /tmp/hang && exec sleep 1234567; true", timeoutSeconds=1)
        self.run_pod("hangs", self.container(readinessProbe=probe, script="sleep 1000000 & wait"))
        pod = self.wait_ready("hangs")
        container = self.container_id(pod)
        self.env.exec(container, "touch", "/tmp/hang")
        self.wait_pod("hangs", lambda pod: not is_ready(pod), "is not ready while its probe hangs")
        self.env.exec(container, "rm", "/tmp/hang")
        self.wait_ready("hangs")
        self.wait(
            lambda: "1234567" not in self.env.exec(container, "ps")[1], "nothing of the timed out probes runs"
        )


class LivenessTest(KubeletCase):
    def is_restarted(self, name):
        pod = self.wait_ready(name)
        before = self.container_id(pod)
        self.env.exec(before, "rm", "/tmp/www/ready")
        pod = self.wait_pod(
            name, lambda pod: statuses(pod)["main"]["restartCount"] == 1 and is_ready(pod), "was restarted once"
        )
        self.assertNotEqual(before, self.container_id(pod))
        ended = statuses(pod)["main"]["lastState"]["terminated"]
        self.assertEqual((0, "Completed"), (ended["exitCode"], ended["reason"]))
        self.assertTrue(ended["containerID"].endswith(before))

    def test_exec(self):
        probe = exec_probe("cat /tmp/www/ready", initialDelaySeconds=1)
        self.run_pod("lives-by-exec", self.container(script=SERVER, livenessProbe=probe))
        self.is_restarted("lives-by-exec")

    def test_http(self):
        probe = http_probe("/ready", 8080, initialDelaySeconds=1)
        self.run_pod("lives-by-http", self.container(script=SERVER, livenessProbe=probe))
        self.is_restarted("lives-by-http")
