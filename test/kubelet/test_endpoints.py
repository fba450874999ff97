"""The kubelet's own endpoints that end in the runtime: logs, and exec and attach, which it passes on by SPDY."""
import threading
import urllib.parse

from harness.kubelet_case import KubeletCase, statuses
from harness.websocket import STDOUT, RemoteCommand


def path_of(what, pod, name="main", **query):
    meta = pod["metadata"]
    query = urllib.parse.urlencode(query, doseq=True)
    return f"/{what}/{meta['namespace']}/{meta['name']}/{name}?{query}"


class LogTest(KubeletCase):
    def test_logs_are_read_followed_and_cut(self):
        self.run_pod(
            "talks",
            self.container(script="for i in 1 2 3; do echo line $i; echo error $i >&2; done; "
                           "until test -e /tmp/go; do sleep 0.05; done; echo line 4; exit 0"),
            restartPolicy="Never",
        )
        pod = self.wait_ready("talks")
        container = self.container_id(pod)
        self.wait(lambda: len(self.log_lines(pod)) == 6, "six lines of log")
        lines = self.kubelet.request("GET", path_of("containerLogs", pod)).splitlines()
        self.assertEqual(["line 1", "line 2", "line 3"], [line for line in lines if line.startswith("line")])
        self.assertEqual(["error 1", "error 2", "error 3"], [line for line in lines if line.startswith("error")])
        self.assertEqual(1, len(self.kubelet.request("GET", path_of("containerLogs", pod, tailLines=1)).splitlines()))

        followed = []
        reader = threading.Thread(
            target=lambda: followed.append(self.kubelet.request("GET", path_of("containerLogs", pod, follow="true")))
        )
        reader.start()
        self.env.exec(container, "touch", "/tmp/go")
        reader.join(timeout=30)
        self.assertFalse(reader.is_alive(), "following ends with the container")
        self.assertEqual(7, len(followed[0].splitlines()))
        self.assertIn("line 4", followed[0].splitlines())

    def test_the_kubelets_rotation_loses_no_line(self):
        script = "n=0; until test -e /tmp/enough; do echo $n; n=$((n + 1)); usleep 500; done; echo end; "
        self.run_pod("chatters", self.container(script=script + "sleep 1000000 & wait"))
        pod = self.wait_ready("chatters")
        folder = self.log_file(pod).parent
        # The kubelet looks every three seconds.
        self.wait(lambda: len(list(folder.iterdir())) > 3, "the log was rotated three times")
        self.env.exec(self.container_id(pod), "touch", "/tmp/enough")
        *numbers, _ = self.wait(lambda: (rows := self.all_log_lines(pod))[-1:] == ["end"] and rows, "all is written")
        self.assertConsecutive([int(number) for number in numbers])

    def test_the_log_of_the_one_before(self):
        # The second one stays: the kubelet removes all but the last dead container.
        script = "test ! -e /notes/once || { sleep 1000000 & wait; }; touch /notes/once; echo once; exit 1"
        self.run_pod(
            "again",
            self.container(script=script, volumeMounts=[{"name": "notes", "mountPath": "/notes"}]),
            volumes=[{"name": "notes", "emptyDir": {}}],
        )
        pod = self.wait_pod("again", lambda pod: statuses(pod).get("main", {}).get("restartCount") == 1, "restarted")
        self.assertEqual("once\n", self.kubelet.request("GET", path_of("containerLogs", pod, previous="true")))


class ExecTest(KubeletCase):
    def setUp(self):
        super().setUp()
        self.run_pod("serves", self.container(script="while read line; do echo got $line; done", stdin=True))
        self.pod = self.wait_ready("serves")

    def open(self, what, **query):
        return RemoteCommand(self.kubelet.connect(), path_of(what, self.pod, **query))

    def test_run(self):
        self.assertEqual("two words\n", self.kubelet.request("POST", path_of("run", self.pod, cmd="echo two words")))

    def test_output_and_exit_code(self):
        script = "echo to stdout; echo to stderr >&2; exit 7"
        out, error, status = self.open("exec", command=["sh", "-c", script], output=1, error=1).finish()
        self.assertEqual((b"to stdout\n", b"to stderr\n"), (out, error))
        self.assertEqual(("Failure", "NonZeroExitCode"), (status["status"], status["reason"]))
        self.assertEqual("7", status["details"]["causes"][0]["message"])

    def test_input(self):
        session = self.open("exec", command=["cat"], input=1, output=1)
        sent = b"".join(b"%08d" % number for number in range(7000))
        for _ in range(10):
            session.write(sent)
        session.end_input()
        out, _, status = session.finish()
        self.assertEqual("Success", status["status"])
        self.assertEqual(sent * 10, out)

    def test_terminal(self):
        session = self.open("exec", command=["sh"], input=1, output=1, tty=1)
        session.resize(91, 27)
        # Its size arrives on a channel of its own: asked for until it is there.
        session.write(b'until test "$(stty size)" = "27 91"; do sleep 0.05; done; echo "size: $(stty size)"; exit 3\n')
        self.assertTrue(session.read_until(lambda: b"size: 27 91" in session.output[STDOUT]), session.output)
        self.assertEqual("3", session.finish()[2]["details"]["causes"][0]["message"])

    def test_attach(self):
        session = self.open("attach", input=1, output=1)
        session.write(b"hello\n")
        self.assertTrue(session.read_until(lambda: b"got hello\n" in session.output[STDOUT]), session.output)
        session.connection.close()
        session.file.close()

    def test_an_exec_goes_on_without_the_daemon(self):
        session = self.open("exec", command=["cat"], input=1, output=1)
        session.write(b"before\n")
        self.assertTrue(session.read_until(lambda: session.output[STDOUT] == b"before\n"))
        self.env.daemon.kill()
        session.write(b"without\n")
        self.assertTrue(session.read_until(lambda: session.output[STDOUT].endswith(b"without\n")))
        self.env.daemon.start()
        session.end_input()
        out, _, status = session.finish()
        self.assertEqual((b"before\nwithout\n", "Success"), (out, status["status"]))
