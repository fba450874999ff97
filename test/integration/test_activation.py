"""belayd under a service manager: sockets that are there before it, and a store for descriptors."""
import os
import signal
import socket
import subprocess

from harness import waiting
from harness.case import Case
from harness.cri import Cri
from harness.service_manager import ServiceManager, listening_unix, waiting_connections


class ActivationTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()
        self.daemon = self.env.daemon
        self.daemon.stop()

    def start_under_manager(self, **sockets):
        manager = ServiceManager(self.daemon.folder, sockets)
        self.addCleanup(self.end_manager, manager)
        self.daemon.manager = manager
        self.daemon.start()
        return manager

    def end_manager(self, manager):
        if self.daemon.process:
            self.env.remove_everything()
            self.daemon.stop()
        self.daemon.manager = None
        manager.close()
        for path in (self.daemon.socket, self.daemon.state / "admin.sock"):
            if path.exists():
                path.unlink()
        self.daemon.start()

    def test_connections_wait_while_belayd_is_dead(self):
        daemon = self.daemon
        streaming = socket.create_server(("127.0.0.1", 0))
        address = streaming.getsockname()
        manager = self.start_under_manager(
            cri=listening_unix(str(daemon.socket)), admin=listening_unix(str(daemon.state / "admin.sock")),
            streaming=streaming,
        )
        waiting.until(lambda: {"READY": "1"} in manager.messages, "READY=1")
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="sleep 1000")
        self.env.start(container)
        daemon.kill()

        client = Cri(daemon.endpoint, eager=False)
        call = client.runtime.Version.future(deadline=30)
        waiting.until(lambda: waiting_connections(daemon.socket) > 0, "the client waits in the kernel's queue")
        self.assertFalse(call.done())
        daemon.start()
        self.assertEqual("belay", call.result().runtime_name)
        client.close()
        self.assertEqual((0, "alive\n", ""), self.env.exec(container, "echo", "alive"))
        # The URL names the socket that was given.
        url = self.env.cri.runtime.Exec(container_id=container, cmd=["true"], stdout=True).url
        self.assertIn(f"127.0.0.1:{address[1]}/", url)
        ctl = [daemon.programs / "belayctl", "--state", daemon.state, "pod", "ls"]
        self.assertIn(pod[:12], subprocess.run(ctl, capture_output=True, text=True, check=True).stdout)

    def test_a_socket_that_is_none_ends_the_start_with_a_sentence(self):
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager = ServiceManager(self.daemon.folder, {"cri": datagram})
        self.addCleanup(self.end_manager, manager)
        with open(self.daemon.log_path, "ab") as log:
            self.assertEqual(1, manager.launch(self.daemon.arguments, log).wait(20))
        self.assertIn('given as "cri"', self.daemon.log_tail())
        self.assertIn("is no stream socket", self.daemon.log_tail())

    def test_what_must_not_die_is_stored_and_given_back(self):
        daemon = self.daemon
        manager = self.start_under_manager()
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="trap 'exit 3' HUP; echo begun; read line; exit 7", tty=True, stdin=True)
        self.env.start(container)
        waiting.until(lambda: any(name.startswith(container + "/") for name in manager.store), "something is stored")
        waiting.until(lambda: ("stdout", "F", "begun") in self.env.log_lines(config), "the container runs")
        stored = set(manager.store)
        pid = self.env.pid(container)
        shim, = daemon.shims()
        daemon.kill()
        # Nobody but the store has the terminal's master then.
        os.kill(shim, signal.SIGKILL)
        waiting.until(lambda: not daemon.shims(), "the shim is dead")
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        daemon.start()
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(stored, set(manager.store))
        self.env.remove_pod(pod)
        waiting.until(lambda: not manager.store, "all that was stored is released")

    def test_the_service_manager_hears_of_an_upgrade_and_keeps_what_it_has(self):
        daemon = self.daemon
        manager = self.start_under_manager(cri=listening_unix(str(daemon.socket)))
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script="echo begun; sleep 1000")
        self.env.start(container)
        waiting.until(lambda: container + "/stdout" in manager.store, "its output is stored")
        stored, before = set(manager.store), len(manager.messages)
        subprocess.run([*daemon.arguments, "upgrade"], check=True, timeout=60, stdout=subprocess.DEVNULL)
        waiting.until(lambda: len(manager.messages) == before + 2, "both messages have come")
        reloading, ready = manager.messages[before:]
        self.assertEqual("1", reloading["RELOADING"])
        self.assertGreater(int(reloading["MONOTONIC_USEC"]), 0)
        self.assertEqual({"READY": "1"}, ready)
        self.assertIsNone(daemon.process.poll())
        self.assertEqual(stored, set(manager.store))
        # What the new one got from the old is released like its own.
        self.env.remove_pod(pod)
        waiting.until(lambda: not manager.store, "all that was stored is released")
