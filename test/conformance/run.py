#!/usr/bin/python3
"""Runs critest, the CRI's conformance suite, on belay and ends with the count of its specs.

usage: test/conformance/run.py --critest PROGRAM --bin DIR [--focus REGEX] [--verbose]
       test/conformance/run.py --critest PROGRAM --bin DIR --peer-bin DIR [...]
       test/conformance/run.py --critest PROGRAM --endpoint unix://PATH [...]
  --bin       belay's programs
  --peer-bin  containerd, containerd-shim-runc-v2 and runc: runs on these, for comparison
  --endpoint  runs on any CRI runtime that finds the suite's images by itself
  --focus     only specs whose name fits
  --spdy      streams by SPDY/3.1, as the kubelet does, instead of WebSocket
  --list      names the specs and runs none
  --verbose   critest's own words as it goes

A spec that fails fails the run, and so does one that the suite skips on belay by itself, unless it is
in MAY_SKIP. What this runner leaves out is in LEFT_OUT.
"""
import argparse
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import images  # noqa: E402
import parts  # noqa: E402
from harness.environment import Environment, busybox_layer, missing_parts  # noqa: E402
from harness.peer import Containerd  # noqa: E402

# regular expression of a spec's name -> why it cannot run.
LEFT_OUT = {
    "public image with digest": "names the published image by its digest, which an image built here cannot "
    "have; test/integration pulls by digest",
    "benchmark about": "critest's benchmarks are a mode of their own; scripts/bench measures",
}
# The same for specs that the suite skips by itself, and whether this machine is one where it may.
MAY_SKIP = {
    "AppArmor": ("the kernel has no AppArmor; test/vm has one that does",
                 lambda: not os.path.exists("/sys/module/apparmor/parameters/enabled")),
}
LOCK = "/run/lock/belay-conformance"


def name_of(spec):
    return " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]]).strip()


def run_critest(arguments, endpoint, folder):
    """Returns the specs of the suite's report."""
    report = pathlib.Path(folder) / "report.json"
    command = [
        arguments.critest, "-runtime-endpoint", endpoint, "-image-endpoint", endpoint, "-config", "/dev/null",
        "-ginkgo.json-report", str(report), "-ginkgo.no-color", "-ginkgo.timeout", "30m",
        *([] if arguments.spdy else ["-websocket-exec", "-websocket-attach", "-websocket-portforward"]),
        *(["-ginkgo.v"] if arguments.verbose else []),
        *(["-ginkgo.dry-run"] if arguments.list else []),
    ]
    for pattern in LEFT_OUT:
        command += ["-ginkgo.skip", pattern]
    if arguments.focus:
        command += ["-ginkgo.focus", arguments.focus]
    with open(f"{folder}/critest.log", "w+") as log:
        output = None if arguments.verbose else log
        code = subprocess.run(command, stdout=output, stderr=output, cwd=folder, check=False).returncode
        if not report.exists():
            log.seek(0)
            raise SystemExit(f"critest ended with {code} and no report:\n{log.read()[-5000:]}")
    return [spec for suite in json.loads(report.read_text()) for spec in suite["SpecReports"] or []]


def reason_of(name, spec, focus):
    """Why a spec did not run, or None if it was not asked for."""
    for pattern, why in LEFT_OUT.items():
        if re.search(pattern, name):
            return why
    if spec["State"] == "pending":
        return "pending in the suite"
    message = spec.get("Failure", {}).get("Message", "")
    return message.strip() or (None if focus else "skipped by the suite without a word")


def names(specs):
    return sorted(name_of(spec) for spec in specs if spec["LeafNodeType"] == "It" and spec["State"] == "passed")


def may_skip(name):
    """The reason why the suite may skip the spec by itself here, or None."""
    for pattern, (why, applies) in {**{p: (w, lambda: True) for p, w in LEFT_OUT.items()}, **MAY_SKIP}.items():
        if re.search(pattern, name) and applies():
            return why
    return None


def count(specs, focus, strict=True):
    """Prints a line for each spec; returns (passed, failed, skipped). `strict`: see MAY_SKIP."""
    passed = failed = skipped = 0
    for spec in specs:
        name, seconds = name_of(spec), spec["RunTime"] / 1e9
        if spec["LeafNodeType"] != "It":
            # Set-up and clean-up of the whole suite count only when they break.
            if spec["State"] in ("passed", "skipped"):
                continue
            name = name or spec["LeafNodeType"]
        if spec["State"] == "passed":
            passed += 1
            print(f"ok      {seconds:6.2f} s  {name}")
        elif spec["State"] in ("skipped", "pending"):
            why = reason_of(name, spec, focus)
            if not why or (focus and not re.search(focus, name)):
                continue
            if may_skip(name) or not strict:
                skipped += 1
                print(f"SKIPPED            {name}: {may_skip(name) or why}")
            else:
                failed += 1
                print(f"FAILED             {name}: the suite skipped it: {why}")
        else:
            failed += 1
            failure = spec.get("Failure", {})
            where = failure.get("Location", {})
            print(f"FAILED  {seconds:6.2f} s  {name}\n  {spec['State']} at "
                  f"{os.path.basename(where.get('FileName', '?'))}:{where.get('LineNumber', '?')}\n  "
                  + failure.get("Message", "").strip().replace("\n", "\n  "))
    return passed, failed, skipped


def pod_without_parent(env):
    config = env.pod_config()
    config.linux.cgroup_parent = ""
    return config


def on_belay(arguments, env, folder):
    """critest on a fresh belayd, and then nothing may be left of its pods."""
    # A pod without a cgroup parent first: the common parent of such pods stays.
    pod, _ = env.run_pod(pod_without_parent(env))
    env.remove_pod(pod)
    base = env.baseline()
    # The images it pulled stay.
    base.folders = [path for path in base.folders if path.name in ("pods", "staging")]
    passed, failed, skipped = count(run_critest(arguments, env.daemon.endpoint, folder), arguments.focus)
    try:
        base.check()
    except AssertionError as error:
        print(f"FAILED             nothing is left of the suite's pods\n  {error}")
        failed += 1
    if failed:
        handle, kept = tempfile.mkstemp(prefix="belayd-", suffix=".log")
        with open(handle, "wb") as copy:
            copy.write(env.daemon.log_path.read_bytes())
        print(f"belayd's log is kept in {kept}")
    return passed, failed, skipped


def on_containerd(arguments, env, folder):
    """The same on the peer: what it fails is not belay's fault."""
    peer = Containerd(arguments.peer_bin, env.folder / "containerd", env.registry, env.folder / "certs.d",
                      env.cni, busybox_layer())
    try:
        return count(run_critest(arguments, peer.endpoint, folder), arguments.focus, strict=False)
    finally:
        peer.stop()


def with_images(arguments, folder):
    made = parts.parts()
    env = Environment(pathlib.Path(arguments.bin))
    try:
        images.push_all(env.registry, made)
        env.mirror_everything()
        return (on_containerd if arguments.peer_bin else on_belay)(arguments, env, folder)
    finally:
        env.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critest", required=True)
    parser.add_argument("--bin")
    parser.add_argument("--peer-bin")
    parser.add_argument("--endpoint")
    parser.add_argument("--focus")
    parser.add_argument("--spdy", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(names(run_critest(arguments, "unix:///dev/null", folder))))
        return 0
    missing = missing_parts()
    if missing and not arguments.endpoint:
        print("SKIPPED  this machine lacks " + ", ".join(missing))
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory(prefix="belay-conformance-") as folder, open(LOCK, "w") as lock:
        # The suite's host ports are fixed: 12000 to 12003.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if arguments.endpoint:
            result = count(run_critest(arguments, arguments.endpoint, folder), arguments.focus, strict=False)
        else:
            result = with_images(arguments, folder)
    print("{} passed, {} failed, {} skipped".format(*result))
    return 1 if result[1] else 0


if __name__ == "__main__":
    sys.exit(main())
