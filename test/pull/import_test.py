#!/usr/bin/python3
"""belay-pull import: OCI layouts and what `docker save` writes, whole and broken.

usage: import_test.py --bin BELAY_PULL --driver INGEST_DRIVER [unittest's arguments]
"""
import gzip
import json
import os

import pull_case
from harness.registry import Image, Layer, descriptor, digest_of, encode


class OciArchive(pull_case.PullCase):
    def write(self, image, name="registry.test/team/app:v1"):
        path = self.folder / "image.tar"
        image.write_oci_archive(path, name)
        return path

    def bring(self, path, wanted=""):
        return self.driver("import", self.request(archiveTag=wanted, registry="", repository="", tag=""), path)

    def test_brings_its_only_image(self):
        for index in (False, True):
            image = self.image(index=index)
            outcome = self.bring(self.write(image))
            self.assertPulled(outcome, image)
            self.assertEqual(outcome["image"]["repoTags"], ["registry.test/team/app:v1"])
            self.assertEqual(outcome["image"]["manifestDigest"], digest_of(image.manifest))

    def test_a_bare_tag_is_no_name(self):
        outcome = self.bring(self.write(self.image(), "v1"))
        self.assertEqual(outcome["image"]["repoTags"], [])

    def several(self):
        images = {"one.test/a:1": self.image(), "2": self.image(config={"User": "2"})}
        archive = Layer()
        entries = []
        for name, image in images.items():
            kind, top = image.manifests[-1]
            entries.append({**descriptor(kind, top), "annotations": {"org.opencontainers.image.ref.name": name}})
            for blob in [*image.blobs.values(), top]:
                archive.add("./blobs/sha256/" + digest_of(blob).removeprefix("sha256:"), blob)
        archive.add("./index.json", encode({"schemaVersion": 2, "manifests": entries}))
        path = self.folder / "several.tar"
        path.write_bytes(archive.bytes())
        return path, images

    def test_the_wanted_one_of_several(self):
        path, images = self.several()
        self.assertPulled(self.bring(path, "one.test/a:1"), images["one.test/a:1"])
        self.assertPulled(self.bring(path, "any.test/b:2"), images["2"])
        self.assertRefused(self.bring(path), "invalid", "2 images", "one.test/a:1")
        self.assertRefused(self.bring(path, "c:3"), "notFound", "one.test/a:1")

    def test_a_blob_with_other_bytes(self):
        image = self.image()
        digest, blob = list(image.blobs.items())[-1]
        image.blobs[digest] = blob
        path = self.write(image)
        data = bytearray(path.read_bytes())
        data[data.index(blob) + 50] ^= 1
        path.write_bytes(data)
        self.assertRefused(self.bring(path), "digestMismatch", digest)

    def test_a_missing_blob(self):
        image = self.image()
        digest = list(image.blobs)[-1]
        del image.blobs[digest]
        self.assertRefused(self.bring(self.write(image)), "notFound", digest.removeprefix("sha256:"))

    def test_a_truncated_archive(self):
        path = self.write(self.image())
        os.truncate(path, path.stat().st_size // 2)
        self.assertRefused(self.bring(path), "invalid", "ends in the middle")

    def test_what_is_no_archive(self):
        path = self.folder / "file"
        for content, code, words in (
            (b"hello" * 1000, "invalid", "no tar archive"),
            (b"", "invalid", "neither index.json nor manifest.json"),
            (Layer().add("readme", b"x").bytes(), "invalid", "neither index.json nor manifest.json"),
            (gzip.compress(b"x" * 100), "unsupported", "decompress it first"),
            (Layer().add("../index.json", b"{}").bytes(), "invalid", ".."),
            (Layer().add("index.json", b"[]").bytes(), "invalid", "no JSON object"),
        ):
            path.write_bytes(content)
            self.assertRefused(self.bring(path), code, words)

    def test_a_device_instead_of_a_file(self):
        self.assertRefused(self.bring("/dev/zero"), "unsupported", "no regular file")


class DockerArchive(pull_case.PullCase):
    def write(self, link=False):
        """As `docker save` before it wrote OCI layouts: plain layer tars, the second perhaps a link."""
        tar = Layer().add("bin/tool", b"x" * 5000, 0o755).bytes()
        other = tar if link else Layer().add("etc/conf", b"y").bytes()
        self.config = encode({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["tool"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar), digest_of(other)]},
        })
        archive = Layer().add("aaa/layer.tar", tar)
        if link:
            archive.symlink("bbb/layer.tar", "../aaa/layer.tar")
        else:
            archive.add("bbb/layer.tar", gzip.compress(other))
        archive.add("cafe.json", self.config)
        archive.add("manifest.json", json.dumps([{
            "Config": "cafe.json", "RepoTags": ["team.test/app:v2"], "Layers": ["aaa/layer.tar", "bbb/layer.tar"],
        }]).encode())
        path = self.folder / "docker.tar"
        path.write_bytes(archive.bytes())
        return path

    def test_gets_a_manifest_made_for_it(self):
        for link in (False, True):
            outcome = self.driver("import", self.request(), self.write(link))
            self.assertIn("image", outcome, outcome)
            image = outcome["image"]
            self.assertEqual(image["id"], digest_of(self.config))
            self.assertEqual(image["repoTags"], ["team.test/app:v2"])
            types = [layer["mediaType"].rsplit(".", 1)[-1] for layer in image["layers"]]
            self.assertEqual(types, ["tar", "tar" if link else "tar+gzip"])
            manifest = (self.store / image["manifestDigest"].removeprefix("sha256:")).read_bytes()
            self.assertEqual(json.loads(manifest)["config"]["digest"], image["id"])
            for blob in image["blobs"]:
                self.assertEqual(digest_of((self.store / blob.removeprefix("sha256:")).read_bytes()), blob)


if __name__ == "__main__":
    pull_case.main()
