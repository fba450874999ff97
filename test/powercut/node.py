"""A node whose disk outlives it: names, addresses and images are the same in every start."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import stat
import subprocess
import tarfile

from harness import waiting
from harness.daemon import Belayd, write_network
from harness.environment import Environment
from harness.registry import Image, Layer, Registry, digest_of

REGISTRY = "registry.test"
MOUNT = pathlib.Path("/mnt/node")
# The disk; its last bytes, behind the file system, are the journal's (journal.py).
DISK_BYTES = 256 << 20
JOURNAL_BYTES = 4096
IMAGES = 6
GZIP_MAGIC = b"\x1f\x8b"


class Node(Environment):
    """`folder` is on another disk, or in memory: programs' state, sockets and the registry."""

    def __init__(self, programs, folder):
        self.mark, self.bridge, self.endpoint = "belay-powercut", "blypowercut", None
        self.programs, self.folder, self.daemon = programs, folder, None
        self.logs, self.cni, self.ipam = folder / "logs", folder / "net.d", MOUNT / "ipam"
        self.registry = Registry(folder / "registry")
        self._mirror(REGISTRY)
        write_network(self.cni, self.bridge, "10.230.0.0/16", self.ipam)
        self.images = {}
        for number in range(IMAGES + 1):
            image = made_image(number)
            self.registry.push(image, f"image{number}", "1")
            self.images[f"{REGISTRY}/image{number}:1"] = image
        self.image = reference(0)

    def start_daemon(self):
        """A daemon upon the mounted disk."""
        folder = self.folder / "d"
        folder.mkdir(exist_ok=True)
        self.daemon = Belayd(
            self.programs, folder, self.mark, self.folder / "certs.d", self.cni, root=MOUNT / "belay"
        )
        self.daemon.start()


def reference(number):
    return f"{REGISTRY}/image{number}:1"


def made_image(number):
    """Always the same: a layer with a shell that all have, one that two have, and one of its own."""
    shell = Layer().directory("bin").add("bin/busybox", pathlib.Path("/bin/busybox").read_bytes(), mode=0o755)
    shell.symlink("bin/sh", "busybox")
    return Image([shell, _files(f"pair{number // 2}"), _files(f"own{number}")])


def _files(name):
    source = random.Random(name)
    layer = Layer().directory(name)
    for number in range(12):
        layer.add(f"{name}/{number}", source.randbytes(source.choice((0, 100, 5000, 40000))))
    return layer.symlink(f"{name}/link", "0")


def expected_layers(image):
    """{chain id: {path: what is there}} of what `image` is unpacked to."""
    tars = [gzip.decompress(blob) for blob in image.blobs.values() if blob.startswith(GZIP_MAGIC)]
    tars = {digest_of(tar): tar for tar in tars}
    chain, result = "", {}
    for diff in json.loads(image.config)["rootfs"]["diff_ids"]:
        chain = digest_of(f"{chain} {diff}".encode()) if chain else diff
        with tarfile.open(fileobj=io.BytesIO(tars[diff])) as tar:
            result[chain] = {member.name: _of_member(tar, member) for member in tar}
    return result


def _of_member(tar, member):
    if member.isdir():
        return "folder"
    if member.issym():
        return "link to " + member.linkname
    return hashlib.sha256(tar.extractfile(member).read()).hexdigest()


def tree(folder):
    """As expected_layers() tells it."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            kind = os.lstat(path).st_mode
            if stat.S_ISDIR(kind):
                text = "folder"
            elif stat.S_ISLNK(kind):
                text = "link to " + os.readlink(path)
            else:
                text = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
            found[os.path.relpath(path, folder)] = text
    return found


def mount(device, *options):
    MOUNT.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", *options, device, str(MOUNT)], check=True)


def unmount():
    # The kernel lets go of what a killed process had there a moment later.
    waiting.until(
        lambda: subprocess.run(["umount", str(MOUNT)], stderr=subprocess.DEVNULL, check=False).returncode == 0,
        f"{MOUNT} can be unmounted",
    )
