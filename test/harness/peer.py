"""containerd under a temporary root: the peer that belay is measured against, and that tests the tests."""
import os
import pathlib
import signal
import subprocess

from harness.cri import Cri
from harness.registry import Image

CONFIG = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
oom_score = 0
[grpc]
  address = "{folder}/containerd.sock"
[debug]
  level = "warn"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{pause}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{registry_config}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{programs}/runc"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
"""


class Containerd:
    """`programs` holds containerd, containerd-shim-runc-v2 and runc (scripts/bench builds them)."""

    def __init__(self, programs, folder, registry, registry_config, cni_conf_dir, busybox):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        pause = Image([busybox], {"Entrypoint": ["/bin/busybox", "sleep", "1000000000"]})
        pause_name = registry.push(pause, "test/pause", "1")
        config = self.folder / "config.toml"
        config.write_text(
            CONFIG.format(
                folder=self.folder, pause=pause_name, registry_config=registry_config,
                cni=cni_conf_dir, programs=programs,
            )
        )
        self.endpoint = f"unix://{self.folder}/containerd.sock"
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [str(pathlib.Path(programs) / "containerd"), "--config", str(config)],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
        )
        self.cri = Cri(self.endpoint)
        try:
            self.cri.wait_until_serving()
        except Exception:
            raise AssertionError((self.folder / "log").read_text()) from None

    def stop(self):
        self.cri.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.log.close()
