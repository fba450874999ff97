"""A real registry (Debian's docker-registry) on a loopback port, and images made for it by hand."""
import gzip
import hashlib
import http.client
import io
import json
import pathlib
import shutil
import socket
import subprocess
import tarfile

from harness import waiting

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(document):
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


class Layer:
    """A tar layer; members are added in order, the result is the same in every run."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, data=b"", mode=0o644, kind=tarfile.REGTYPE, link="", uid=0, gid=0, pax=None):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.uid, info.gid = kind, mode, link, uid, gid
        info.size = len(data)
        info.mtime = 1700000000
        info.pax_headers = pax or {}
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name, mode=0o755, uid=0, gid=0):
        return self.add(name, mode=mode, kind=tarfile.DIRTYPE, uid=uid, gid=gid)

    def symlink(self, name, target):
        return self.add(name, mode=0o777, kind=tarfile.SYMTYPE, link=target)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


class Image:
    """Blobs of one image, and where its manifest is."""

    def __init__(self, layers, config=None, architecture="amd64", index=False):
        self.blobs = {}
        tars = [layer.bytes() if isinstance(layer, Layer) else layer for layer in layers]
        zipped = [gzip.compress(tar, 6, mtime=0) for tar in tars]
        self.config = encode(
            {
                "architecture": architecture,
                "os": "linux",
                "created": "2023-11-14T22:13:20Z",
                "config": config or {},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            }
        )
        self.id = digest_of(self.config)
        self.blobs[self.id] = self.config
        for blob in zipped:
            self.blobs[digest_of(blob)] = blob
        self.manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, self.config),
                "layers": [descriptor(LAYER_GZIP, blob) for blob in zipped],
            }
        )
        self.manifests = [(MANIFEST, self.manifest)]
        if index:
            foreign = Image([Layer().add("foreign", b"not for this machine")], architecture="riscv64")
            self.blobs.update(foreign.blobs)
            self.manifests.insert(0, foreign.manifests[0])
            other = descriptor(MANIFEST, foreign.manifest)
            other["platform"] = {"architecture": "riscv64", "os": "linux"}
            mine = descriptor(MANIFEST, self.manifest)
            mine["platform"] = {"architecture": architecture, "os": "linux"}
            self.manifests.append(
                (
                    INDEX,
                    encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, mine]}),
                )
            )
        self.digest = digest_of(self.manifests[-1][1])

    def write_oci_archive(self, path, name):
        """The image as an OCI layout in a tar file, as `skopeo copy ... oci-archive:` writes it."""
        archive = Layer()
        archive.directory("blobs").directory("blobs/sha256")
        archive.add("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
        kind, top = self.manifests[-1]
        entry = descriptor(kind, top)
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        archive.add("index.json", encode({"schemaVersion": 2, "manifests": [entry]}))
        for blob in [*self.blobs.values(), *(data for _, data in self.manifests)]:
            archive.add("blobs/sha256/" + digest_of(blob).removeprefix("sha256:"), blob)
        pathlib.Path(path).write_bytes(archive.bytes())


def descriptor(kind, data):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


class Registry:
    """docker-registry with its storage below a temporary folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        config = self.folder / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}'}}\n"
        )
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [shutil.which("docker-registry") or "docker-registry", "serve", str(config)],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
        )
        waiting.until(lambda: self._answers(), f"docker-registry answers on {self.host}", seconds=20)

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.request("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def push(self, image, repository, tag):
        """Uploads the image; returns "host/repository:tag"."""
        for digest, blob in image.blobs.items():
            status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/")
            assert status == 202, (status, body)
            location = headers["Location"].split(self.host)[-1]
            joint = "&" if "?" in location else "?"
            status, _, body = self.request(
                "PUT", f"{location}{joint}digest={digest}", blob,
                {"Content-Type": "application/octet-stream"},
            )
            assert status == 201, (status, body)
        for kind, manifest in image.manifests[:-1]:
            self._put_manifest(repository, digest_of(manifest), kind, manifest)
        kind, manifest = image.manifests[-1]
        self._put_manifest(repository, tag, kind, manifest)
        return f"{self.host}/{repository}:{tag}"

    def _put_manifest(self, repository, name, kind, manifest):
        status, _, body = self.request(
            "PUT", f"/v2/{repository}/manifests/{name}", manifest, {"Content-Type": kind}
        )
        assert status == 201, (status, body)

    def blob_file(self, digest):
        """Where the registry keeps a blob: for tests in which it lies."""
        hexadecimal = digest.removeprefix("sha256:")
        return (
            self.folder / "data/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()
