"""The base of all integration tests: one shared environment, and a leak check after every test."""
import os
import re
import unittest

import grpc

from harness import waiting
from harness.cri import messages
from harness.daemon import find_programs
from harness.environment import Environment, missing_parts

_environment = None
_broken = []


def environment():
    """Made by the first test that runs, shared by all: a registry and a daemon take a second to start."""
    global _environment
    if _environment is None:
        endpoint = os.environ.get("BELAY_ENDPOINT")
        if _broken:
            raise AssertionError("the environment could not be made; see the first failure")
        _broken.append(True)
        _environment = Environment(None if endpoint else find_programs(), endpoint)
        # One pod's whole life first, so that what stays on purpose (the bridge, the image's layers)
        # is there before any baseline is taken.
        _environment.pull()
        pod, config = _environment.run_pod()
        container = _environment.create(pod, config, script="true")
        _environment.start(container)
        _environment.wait_exited(container)
        _environment.remove_pod(pod)
    return _environment


def close_environment():
    if _environment is not None:
        _environment.close()


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        missing = missing_parts()
        if missing:
            raise unittest.SkipTest("this machine lacks " + ", ".join(missing))

    def setUp(self):
        self.env = environment()
        self.pb = messages()
        self.base = self.env.baseline()
        self.addCleanup(self._end)

    def _end(self):
        if self.env.daemon and self.env.daemon.process is None:
            self.env.daemon.start()
        self.env.remove_everything()
        if self.env.daemon:
            # A daemon that was restarted has another pid and its own count of descriptors.
            if self.base.daemon_pid != self.env.daemon.process.pid:
                self.base.daemon_pid = None
                self.base.processes.add(self.env.daemon.process.pid)
            self.base.check()

    def only_belay(self):
        """Skips where the test is about belay's own promises rather than the CRI's."""
        if not self.env.daemon:
            self.skipTest("about belay alone, and --endpoint names another runtime")

    def restart(self):
        self.env.restart()

    def numbers(self, config):
        """What a container that counts has written to its log; words are passed over."""
        return [int(text) for _, _, text in self.env.log_lines(config) if re.fullmatch(r"\d+", text)]

    def grows(self, config, by=20):
        """Waits until it has counted on."""
        count = len(self.numbers(config))
        waiting.until(lambda: len(self.numbers(config)) > count + by, f"{by} more lines in the log")

    def assertConsecutive(self, numbers):
        """They are 0, 1, 2, ... with none missing, doubled or out of order; returns how many."""
        for place, number in enumerate(numbers):
            self.assertEqual(place, number, f"around {numbers[max(0, place - 3):place + 3]}")
        return len(numbers)

    def assertCode(self, code, *fragments):
        """A context in which a call must fail with this gRPC status and a text holding `fragments`."""
        return _Fails(self, code, fragments)


class _Fails:
    def __init__(self, case, code, fragments):
        self.case, self.code, self.fragments = case, code, fragments

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.case.assertIsNotNone(error, f"expected {self.code.name}, but the call succeeded")
        if not isinstance(error, grpc.RpcError):
            return False
        if self.case.env.daemon:
            self.case.assertEqual(self.code, error.code(), error.details())
            for fragment in self.fragments:
                self.case.assertIn(fragment, error.details())
        self.details = error.details()
        return True
