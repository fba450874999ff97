"""A node full of pods: the daemon is killed again and again, every shim is replaced, some are killed."""
import concurrent.futures
import os
import random
import signal
import subprocess

from harness import waiting
from harness.case import Case

PODS = int(os.environ.get("BELAY_PODS", "100"))
KILLS = 20


class HundredPodsTest(Case):
    def setUp(self):
        super().setUp()
        self.only_belay()

    def begin(self, number):
        env = self.env
        pod, config = env.run_pod(host_network=True)
        script = f"trap 'exit {number % 100 + 1}' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.2; done"
        container = env.create(pod, config, script=script)
        env.start(container)
        return number, config, container

    def grow(self, pods):
        before = {container: len(self.numbers(config)) for _, config, container in pods}
        for number, config, container in pods:
            waiting.until(lambda: len(self.numbers(config)) > before[container], f"a line of pod {number}")

    def test_nobody_in_the_pods_notices(self):
        env, chance = self.env, random.Random(1)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            pods = list(pool.map(self.begin, range(PODS)))
        self.grow(pods)
        shims = sorted(env.daemon.shims())
        self.assertEqual(PODS, len(shims))
        killed = set()
        for kill in range(KILLS):
            env.daemon.kill()
            if kill % 2:
                # Now and then with a shim that dies while nobody looks.
                victim = chance.choice([pid for pid in shims if pid not in killed])
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
            env.daemon.start()
            states = {one.state for one in env.cri.runtime.ListContainers().containers}
            self.assertEqual({self.pb.CONTAINER_RUNNING}, states)
        self.assertEqual(KILLS // 2, len(killed))
        answer = subprocess.run(
            [env.daemon.programs / "belayctl", "--state", env.daemon.state, "shim", "upgrade", "--all"],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(0, answer.returncode, answer.stdout + answer.stderr)
        self.assertEqual(PODS, answer.stdout.count("replaced"))
        self.grow(pods)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: env.cri.runtime.StopContainer(container_id=one[2], timeout=30), pods))
        for number, config, container in pods:
            self.assertEqual(number % 100 + 1, env.status(container).exit_code, f"pod {number}")
            self.assertConsecutive(self.numbers(config))
