"""Pulling from a real registry, naming, listing and removing images."""
import os
import pathlib

import grpc

from harness import waiting
from harness.case import Case
from harness.registry import Image, Layer, digest_of


class ImageTest(Case):
    def push(self, name, content=b"x", tag="1", config=None):
        """A small image of its own content; returns (Image, reference)."""
        image = Image([Layer().add("content", content)], config)
        reference = self.env.registry.push(image, f"test/{name}", tag)
        self.addCleanup(self.remove, image.id)
        return image, reference

    def remove(self, reference):
        self.env.cri.image.RemoveImage(image=self.pb.ImageSpec(image=reference))

    def status(self, reference):
        reply = self.env.cri.image.ImageStatus(image=self.pb.ImageSpec(image=reference))
        return reply.image if reply.HasField("image") else None

    def test_a_pulled_image_is_known_by_all_its_names(self):
        image, reference = self.push("names", config={"User": "1000:1000"})
        self.assertEqual(image.id, self.env.pull(reference))
        repository = reference.rsplit(":", 1)[0]
        for name in (image.id, reference, f"{repository}@{image.digest}", image.id.removeprefix("sha256:")[:13]):
            found = self.status(name)
            self.assertIsNotNone(found, name)
            self.assertEqual(image.id, found.id)
        self.assertEqual([reference], list(found.repo_tags))
        self.assertEqual([f"{repository}@{image.digest}"], list(found.repo_digests))
        self.assertGreater(found.size, 0)
        self.assertEqual(1000, found.uid.value)
        listed = self.env.cri.image.ListImages().images
        self.assertEqual(1, sum(entry.id == image.id for entry in listed))

    def test_pulling_by_digest_has_no_tag(self):
        image, reference = self.push("digest")
        self.env.pull(reference.rsplit(":", 1)[0] + "@" + image.digest)
        self.assertEqual([], list(self.status(image.id).repo_tags))

    def test_a_second_tag_of_the_same_content_is_the_same_image(self):
        image, first = self.push("tags", tag="one")
        second = self.env.registry.push(image, "test/tags-elsewhere", "two")
        self.env.pull(first)
        self.env.pull(second)
        self.assertEqual({first, second}, set(self.status(image.id).repo_tags))
        self.remove(first)
        self.assertIsNone(self.status(second))

    def test_a_tag_that_moved_names_the_new_image(self):
        old, reference = self.push("moves", b"old")
        self.env.pull(reference)
        new, reference = self.push("moves", b"new")
        self.assertEqual(new.id, self.env.pull(reference))
        self.assertEqual(new.id, self.status(reference).id)
        self.assertEqual([], list(self.status(old.id).repo_tags))

    def test_removing_is_idempotent_and_unknown_images_are_absent(self):
        image, reference = self.push("removed")
        self.env.pull(reference)
        self.remove(reference)
        self.remove(reference)
        self.assertIsNone(self.status(reference))

    def test_an_unknown_image_says_which(self):
        reference = f"{self.env.registry.host}/test/nosuch:1"
        with self.assertCode(grpc.StatusCode.NOT_FOUND, "test/nosuch"):
            self.env.pull(reference)

    def test_a_malformed_reference_is_refused(self):
        with self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, "UPPER"):
            self.env.pull("127.0.0.1:5000/UPPER/case:1")

    def test_a_registry_that_is_not_there(self):
        self.only_belay()
        with self.assertCode(grpc.StatusCode.UNAVAILABLE, "127.0.0.1:1"):
            self.env.pull("127.0.0.1:1/test/image:1")

    def test_a_layer_that_is_not_what_its_digest_says(self):
        self.only_belay()
        image, reference = self.push("lies", b"true content")
        layer = next(
            digest for digest in image.blobs if digest != image.id
        )
        stored = self.env.registry.blob_file(layer)
        stored.write_bytes(b"\0" * stored.stat().st_size)
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.pull(reference)
        self.assertIn(layer.removeprefix("sha256:")[:12], caught.exception.details())
        self.assertIn("digest", caught.exception.details())
        self.assertIsNone(self.status(reference))
        self.assert_nothing_kept_of(layer)

    def test_a_layer_whose_content_is_not_its_diff_id(self):
        self.only_belay()
        image = Image([Layer().add("content", b"one")])
        other = Image([Layer().add("content", b"two")])
        # A configuration that promises the other image's content.
        swapped = Image([Layer().add("content", b"one")])
        swapped.config = other.config
        swapped.blobs = {**image.blobs, other.id: other.config}
        manifest = image.manifest.replace(image.id.encode(), other.id.encode())
        swapped.manifests = [(image.manifests[0][0], manifest)]
        reference = self.env.registry.push(swapped, "test/swapped", "1")
        with self.assertRaises(grpc.RpcError) as caught:
            self.env.pull(reference)
        for content in (b"one", b"two"):
            promised = Layer().add("content", content).bytes()
            self.assertIn(digest_of(promised), caught.exception.details())
        self.assertIsNone(self.status(reference))
        self.assert_nothing_kept_of(*image.blobs)

    def test_whiteouts_hide_what_lower_layers_have(self):
        env = self.env
        pod, config = env.run_pod(host_network=True)
        container = env.create(
            pod, config, script="ls /etc/removed 2>&1; ls /opaque; cat /etc/layer; stat -c %a /tmp"
        )
        env.start(container)
        env.wait_exited(container)
        lines = [text for _, _, text in env.log_lines(config)]
        self.assertIn("No such file", lines[0])
        self.assertEqual(["new", "two", "1777"], lines[1:])

    def test_a_hostile_layer_stays_inside_its_folder(self):
        self.only_belay()
        outside = pathlib.Path("/tmp") / f"{self.env.mark}-escaped"
        for number, layer in enumerate((
            Layer().add(f"../../../../../../../../..{outside}", b"!"),
            Layer().symlink("link", "/tmp").add(f"link/{outside.name}", b"!"),
            Layer().symlink("up", "../../../../../../../../tmp").add(f"up/{outside.name}", b"!"),
        )):
            image = Image([layer])
            self.addCleanup(self.remove, image.id)
            reference = self.env.registry.push(image, f"test/hostile{number}", "1")
            try:
                self.env.pull(reference)
            except grpc.RpcError:
                pass
            self.assertFalse(outside.exists(), f"layer {number} wrote outside of its folder")

    def test_the_image_filesystem_is_reported(self):
        def measured():
            # Peers count in the background: their first answer may be zero.
            usage = self.env.cri.image.ImageFsInfo().image_filesystems[0]
            return usage if usage.used_bytes.value > 1 << 20 else None

        usage = waiting.until(measured, "used bytes are reported")
        self.assertGreater(usage.inodes_used.value, 10)
        self.assertGreater(usage.timestamp, 0)
        self.assertTrue(os.path.isdir(usage.fs_id.mountpoint))

    def test_an_image_in_use_can_be_removed_and_the_container_lives(self):
        self.only_belay()
        env = self.env
        image = Image(env.busybox_layers("in-use"), {"Env": ["PATH=/bin"]})
        reference = env.registry.push(image, "test/in-use", "1")
        env.pull(reference)
        pod, config = env.run_pod(host_network=True)
        spec = env.container_config(script="sleep 1000")
        spec.image.image = reference
        container = env.create(pod, config, spec)
        env.start(container)
        self.remove(reference)
        self.assertEqual((0, "alive\n", ""), env.exec(container, "echo", "alive"))

    def assert_nothing_kept_of(self, *digests):
        """A failed pull leaves no layer half unpacked and no download of the blobs that were wrong.

        Downloads of other blobs may be there: the next pull resumes them.
        """
        # Folders come and go below it: what was removed is emptied in the background.
        found = {}
        for folder, folders, files in os.walk(self.env.daemon.root):
            found.setdefault(os.path.basename(folder), []).extend(folders + files)
        self.assertEqual([], found.get("staging", []))
        for digest in digests:
            self.assertNotIn(digest.removeprefix("sha256:"), found.get("ingest", []))
