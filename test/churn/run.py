#!/usr/bin/python3
"""Gives many pods a life each, several at a time, and then looks for anything they left behind.

usage: test/churn/run.py --bin DIR [--pods N] [--workers N]
Ends with a count: every pod that went as it should, and one for the host that is as it was.
"""
import argparse
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from churn import Churn  # noqa: E402
from harness.environment import Environment, missing_parts  # noqa: E402


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def churn(env, arguments):
    env.pull()
    # What stays on purpose (the bridge, the image's layers) is there before the first look.
    Churn(env).run(8, 1)
    base, leases = env.baseline(), env.leases()
    before = resident_kib(env.daemon.process.pid)
    began = time.monotonic()
    done, failures = Churn(env).run(arguments.pods, arguments.workers)
    seconds = time.monotonic() - began
    for kind, number in sorted(done.items()):
        print(f"ok       {number:4} {kind.replace('_', ' ')}")
    for sentence in failures:
        print(f"FAILED  {sentence}")
    print(f"{arguments.pods} pods in {seconds:.0f} s, {arguments.workers} at a time; "
          f"belayd had {before} KiB resident, now {resident_kib(env.daemon.process.pid)}")
    passed, failed = sum(done.values()), len(failures)
    try:
        base.check(seconds=60)
        assert env.leases() == leases, f"addresses still leased: {sorted(env.leases() - leases)}"
        passed += 1
        print("ok       nothing is left behind")
    except AssertionError as error:
        failed += 1
        print(f"FAILED   {error}")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=8)
    arguments = parser.parse_args()
    missing = missing_parts()
    if missing:
        print("SKIPPED  this machine lacks " + ", ".join(missing))
        print("0 passed, 0 failed, 1 skipped")
        return 0
    env = Environment(pathlib.Path(arguments.bin))
    try:
        passed, failed = churn(env, arguments)
        if failed:
            handle, kept = tempfile.mkstemp(prefix="belayd-", suffix=".log")
            with open(handle, "wb") as copy:
                copy.write(env.daemon.log_path.read_bytes())
            print(f"belayd's log is kept in {kept}")
    finally:
        env.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
