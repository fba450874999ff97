"""What can go wrong where: every failpoint of every program, and what is done there."""
import dataclasses
import functools
import random
import re

PROGRAMS = {"belayd": "belayd", "shim": "belay-shim", "pull": "belay-pull", "session": "belay-session"}
NAME = re.compile(rb"(?:belayd|shim|pull|session)\.[a-z-]+/[a-z-]+")
ACTIONS = ("kill", "fail", "delay")

# How long a delay is, and how long the client waits before it asks again: the second call meets the first one's work.
DELAY_MS, PATIENCE_S = 1200, 0.8

# Passed while belayd starts, so they are armed by its environment.
AT_START = ("belayd.reconcile/",)

# Passed when a shim has died and another one takes its pod over.
AFTER_SHIM_DEATH = ("shim.adopt/", "belayd.succession/")

# Passed only after something has failed: what has to fail first.
COMPANIONS = {
    "belayd.run-pod-sandbox/before-undo": "belayd.run-pod-sandbox/before-ready-record=fail",
    "belayd.create-container/undo-after-shim": "belayd.create-container/after-shim=fail",
    "belayd.create-container/undo-after-snapshot": "belayd.create-container/after-shim=fail",
}

# Where the program can die or be slow, but nothing can fail: memory and records are as they should be by then.
NOTHING_FAILS = {
    "belayd.database/after-write", "belayd.remove-image/after-durable",
    "shim.container/before-telling", "shim.exit/before-record", "shim.exit/after-telling",
    "shim.log/after-write", "shim.log/after-position", "shim.log/after-batch",
}


# Passed several times in a pod's life.
OFTEN = (
    "belayd.create-container/after-", "belayd.start-container/", "belayd.database/", "belayd.remove-container/",
    "belayd.pull-image/after-blob", "belayd.pull-image/before-blob", "belayd.pull-image/after-layer",
    "belayd.cni/", "shim.create-container/", "shim.start-container/", "shim.container/", "shim.exit/", "shim.log/",
    "pull.unpack/before-entry",
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """One failpoint that is armed, from its pass-th passing on."""

    point: str
    action: str
    on_pass: int = 1

    @property
    def program(self):
        return self.point.split(".")[0]

    @property
    def setting(self):
        action = f"delay:{DELAY_MS}" if self.action == "delay" else self.action
        return action + (f"@{self.on_pass}" if self.on_pass > 1 else "")

    @property
    def after_shim_death(self):
        return self.point.startswith(AFTER_SHIM_DEATH)

    @property
    def at_start(self):
        return self.point.startswith(AT_START)

    def __str__(self):
        return f"{self.point}={self.setting}"


@functools.cache
def points(programs):
    """Names of all failpoints, as the programs' files hold them."""
    found = set()
    for program, file in PROGRAMS.items():
        names = {name.decode() for name in NAME.findall((programs / file).read_bytes())}
        found |= {name for name in names if name.startswith(program + ".")}
    return sorted(found)


def every(programs):
    """All single faults."""
    return [
        Fault(point, action)
        for point in points(programs) for action in ACTIONS
        if not (action == "fail" and point in NOTHING_FAILS)
    ]


def sample(programs):
    """One action at each point, the next one at the next: every step is struck, every action is seen."""
    chosen = []
    for number, point in enumerate(points(programs)):
        action = ACTIONS[number % len(ACTIONS)]
        chosen.append(Fault(point, "kill" if action == "fail" and point in NOTHING_FAILS else action))
    return chosen


def schedule(programs, seed):
    """Up to three faults at random, at one of their first passes."""
    chance = random.Random(seed)
    everything = every(programs)
    faults = []
    for fault in chance.sample(everything, chance.randint(1, 3)):
        if fault.point not in {other.point for other in faults}:
            on_pass = chance.choice((1, 2, 3)) if fault.point.startswith(OFTEN) else 1
            faults.append(dataclasses.replace(fault, on_pass=on_pass))
    return faults
