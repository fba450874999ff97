"""Pods that come and go, some of them failing half-way on purpose."""
import collections
import concurrent.futures
import contextlib
import json
import os

import grpc

from harness import waiting
from harness.cri import Cri

# What belayd says when it had to do without a shim that lives: no pod here gives it reason to.
BY_FORCE = ("they are killed without it", "it is ended by force")

# Stands behind the real plug-ins, so that these have done their work when it refuses a pod.
PLUGIN = r"""#!/usr/bin/perl
my $in = do { local $/; <STDIN> };
my $command = $ENV{CNI_COMMAND};
if ($command eq 'VERSION') {
  print '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}';
} elsif ($command eq 'ADD' && $ENV{CNI_ARGS} =~ /K8S_POD_NAME=no-network/) {
  print '{"cniVersion":"1.0.0","code":100,"msg":"refused on purpose"}';
  exit 1;
} elsif ($command eq 'ADD') {
  $in =~ /"prevResult":\s*(\{(?:[^{}]|(?1))*\})/;
  print $1;
}
"""


@contextlib.contextmanager
def refusing_network(env):
    """The environment's network with PLUGIN at its end."""
    plugin = env.daemon.plugins / "refuse"
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    network = json.loads((env.cni / "10-test.conflist").read_text())
    network["plugins"].append({"type": plugin.name})
    file = env.cni / "05-churn.conflist"
    file.write_text(json.dumps(network))
    try:
        yield
    finally:
        file.unlink()


class Churn:
    """`run(pods, workers)` gives one life to each pod, of the kinds below in turn."""

    def __init__(self, env):
        self.env, self.runtime = env, env.cri.runtime
        # Apart from the other calls: grpc's C core, in a hurry, resets streams it has not opened, and
        # HTTP/2 has the server close the connection then.
        self.hasty = None
        self.kinds = [
            self.whole_life, self.exits_by_itself, self.no_network, self.missing_image,
            self.bad_command, self.removed_while_it_runs, self.impatient_client, self.stopped_while_it_is_made,
        ]

    def run(self, pods, workers):
        """How many pods of each kind went as they should, and sentences for those that did not."""
        done, failures = collections.Counter(), []
        log = self.env.daemon.log_path
        said_before = log.stat().st_size

        def one(number):
            kind = self.kinds[number % len(self.kinds)]
            kind(number)
            return kind.__name__

        self.hasty = Cri(self.env.daemon.endpoint)
        workers = concurrent.futures.ThreadPoolExecutor(workers)
        with contextlib.closing(self.hasty), refusing_network(self.env), workers:
            for life in concurrent.futures.as_completed([workers.submit(one, number) for number in range(pods)]):
                try:
                    done[life.result()] += 1
                except (AssertionError, grpc.RpcError) as error:
                    failures.append(error.details() if isinstance(error, grpc.RpcError) else str(error))
        said = log.read_bytes()[said_before:].decode(errors="replace").splitlines()
        return done, failures + [line for line in said if any(word in line for word in BY_FORCE)]

    def fails(self, code, call):
        try:
            call()
        except grpc.RpcError as error:
            assert error.code() == code, f"{error.code()} instead of {code}: {error.details()}"
            return error.details()
        raise AssertionError(f"{code} was expected")

    def running(self, script="sleep 1000"):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, script=script)
        self.env.start(container)
        return pod, config, container

    # --- the kinds of lives

    def whole_life(self, _):
        pod, _, container = self.running("trap 'exit 0' TERM; while :; do sleep 0.1; done")
        assert self.env.exec(container, "echo", "hello")[:2] == (0, "hello\n")
        self.runtime.StopContainer(container_id=container, timeout=10)
        self.runtime.RemoveContainer(container_id=container)
        self.env.remove_pod(pod)

    def exits_by_itself(self, number):
        pod, config, container = self.running(f"echo {number}; exit 7")
        status = self.env.wait_exited(container, 60)
        assert status.exit_code == 7, status
        assert self.env.log_lines(config) == [("stdout", "F", str(number))]
        self.env.remove_pod(pod)

    def no_network(self, number):
        config = self.env.pod_config(name=f"no-network-{number}")
        try:
            self.env.run_pod(config)
        except grpc.RpcError as error:
            assert "refused on purpose" in error.details(), error.details()
            return
        raise AssertionError("a pod without its network is ready")

    def missing_image(self, number):
        pod, config = self.env.run_pod()
        missing = self.env.container_config()
        missing.image.image = f"127.0.0.1:1/missing:{number}"
        self.fails(grpc.StatusCode.NOT_FOUND, lambda: self.env.create(pod, config, missing))
        self.env.remove_pod(pod)

    def bad_command(self, _):
        pod, config = self.env.run_pod()
        container = self.env.create(pod, config, command=["/no/such/program"])
        self.fails(grpc.StatusCode.NOT_FOUND, lambda: self.env.start(container))
        status = self.env.wait_exited(container, 60)
        assert (status.exit_code, status.reason) == (127, "StartError"), status
        self.env.remove_pod(pod)

    def removed_while_it_runs(self, _):
        pod, _, _ = self.running("sleep 1000 & sleep 1000 & wait")
        self.runtime.RemovePodSandbox(pod_sandbox_id=pod)

    def impatient_client(self, number):
        config = self.env.pod_config()
        with contextlib.suppress(grpc.RpcError):
            self.hasty.runtime.RunPodSandbox(config=config, deadline=(number % 50 + 1) / 1000)
        pod, _ = self.env.run_pod(config)
        self.env.remove_pod(pod)

    def stopped_while_it_is_made(self, _):
        pod, config = self.env.run_pod()
        made = self.env.container_config(script="sleep 1000")
        os.makedirs(os.path.join(config.log_directory, "main"))
        creation = self.runtime.CreateContainer.future(pod_sandbox_id=pod, config=made, sandbox_config=config)
        self.runtime.StopPodSandbox(pod_sandbox_id=pod)
        waiting.until(creation.done, "the creation has ended, one way or the other", 60)
        self.runtime.RemovePodSandbox(pod_sandbox_id=pod)
