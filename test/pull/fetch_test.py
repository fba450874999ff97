#!/usr/bin/python3
"""belay-pull fetch against a real registry and against one that lies.

usage: fetch_test.py --bin BELAY_PULL --driver INGEST_DRIVER [unittest's arguments]
"""
import json
import os
import shutil
import subprocess
import threading
import time

import pull_case
from fake_registry import FakeRegistry
from harness.registry import INDEX, Image, Layer, Registry, descriptor, digest_of, encode


class RealRegistry(pull_case.PullCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("docker-registry"):
            self.skipTest("Debian's docker-registry is not installed")
        self.registry = Registry(self.folder / "registry")
        self.addCleanup(self.registry.stop)

    def pull(self, **members):
        host = {"url": f"http://{self.registry.host}", "canResolve": True, "canPull": True}
        return self.fetch(host, registry=self.registry.host, **members)

    def test_pulls_an_index_by_tag(self):
        image = self.image(index=True)
        self.registry.push(image, "team/app", "latest")
        outcome = self.pull()
        self.assertPulled(outcome, image)
        got = outcome["image"]
        name = f"{self.registry.host}/team/app"
        self.assertEqual(got["repoTags"], [f"{name}:latest"])
        self.assertEqual(got["repoDigests"], [f"{name}@{image.digest}"])
        self.assertEqual(got["manifestDigest"], digest_of(image.manifest))
        self.assertEqual(got["config"]["env"], ["A=1"])
        self.assertEqual(got["config"]["user"], "7")
        self.assertEqual(got["configJson"].encode(), image.config)
        diff_ids = json.loads(image.config)["rootfs"]["diff_ids"]
        self.assertEqual([layer["diffId"] for layer in got["layers"]], diff_ids)
        self.assertEqual(got["layers"][0]["chainId"], diff_ids[0])
        self.assertEqual(got["layers"][1]["chainId"], digest_of(" ".join(diff_ids).encode()))
        self.assertEqual(len(got["blobs"]), 5)
        self.assertEqual(int(got["sizeBytes"]), sum(len(image.blobs[b]) for b in got["blobs"] if b in image.blobs))

    def test_pulls_a_manifest_by_digest(self):
        image = self.image()
        self.registry.push(image, "team/app", "latest")
        outcome = self.pull(tag="", digest=image.digest)
        self.assertPulled(outcome, image)
        self.assertEqual(outcome["image"]["repoTags"], [])

    def test_says_what_is_missing(self):
        outcome = self.pull(repository="team/none")
        self.assertRefused(outcome, "notFound", self.registry.host, "manifest latest", "HTTP 404", "MANIFEST_UNKNOWN")


class Fake(pull_case.PullCase):
    def registry(self, **options):
        registry = FakeRegistry(**options)
        self.addCleanup(registry.stop)
        return registry

    def setUp(self):
        super().setUp()
        self.picture = self.image()
        self.first = self.registry().add(self.picture)
        self.layer = digest_of(list(self.picture.blobs.values())[-1])  # the large one


class Transfers(Fake):
    def test_asks_only_for_the_manifest_when_all_is_there(self):
        self.assertPulled(self.fetch(self.first), self.picture)
        self.first.requests.clear()
        self.assertPulled(self.fetch(self.first), self.picture)
        self.assertEqual(self.first.requests[0][0], "HEAD")
        self.assertEqual(len(self.first.requests), 1)

    def test_does_without_head(self):
        self.first.head_works = False
        self.assertPulled(self.fetch(self.first), self.picture)

    def test_resumes_what_an_earlier_pull_left(self):
        data = self.picture.blobs[self.layer]
        (self.store / (self.layer.removeprefix("sha256:") + ".partial")).write_bytes(data[:1000])
        self.assertPulled(self.fetch(self.first), self.picture)
        ranges = [h.get("Range") for _, path, h in self.first.requests if path.endswith(self.layer)]
        self.assertEqual(ranges, ["bytes=1000-"])

    def test_starts_over_where_ranges_are_unknown(self):
        data = self.picture.blobs[self.layer]
        (self.store / (self.layer.removeprefix("sha256:") + ".partial")).write_bytes(b"x" * 1000)
        self.first.on_blob = lambda h: h.path.endswith(self.layer) and (self.first.answer(h, 200, data) or True)
        self.assertPulled(self.fetch(self.first), self.picture)

    def test_starts_over_when_more_is_there_than_there_should_be(self):
        data = self.picture.blobs[self.layer]
        (self.store / (self.layer.removeprefix("sha256:") + ".partial")).write_bytes(data + b"x")
        self.assertPulled(self.fetch(self.first), self.picture)

    def break_off(self, registry, times, at):
        """The large layer's connection breaks `at` bytes after its beginning, so many times."""
        left = [times]

        def on_blob(handler):
            if not handler.path.endswith(self.layer) or left[0] == 0:
                return False
            left[0] -= 1
            begin = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
            data = self.picture.blobs[self.layer][begin:]
            handler.send_response(206 if begin else 200)
            if begin:
                handler.send_header("Content-Range", f"bytes {begin}-{begin + len(data) - 1}/*")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[:at])
            handler.close_connection = True
            return True

        registry.on_blob = on_blob

    def test_goes_on_after_a_broken_connection(self):
        self.break_off(self.first, times=3, at=50_000)
        self.assertPulled(self.fetch(self.first), self.picture)
        ranges = [h.get("Range") for _, path, h in self.first.requests if path.endswith(self.layer)]
        self.assertEqual(ranges, [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"])

    def test_gives_up_when_nothing_comes_any_more(self):
        self.break_off(self.first, times=100, at=0)
        self.assertRefused(self.fetch(self.first), "unavailable", self.first.host)

    def test_another_endpoint_goes_on_where_one_failed(self):
        second = self.registry().add(self.picture)
        self.break_off(self.first, times=100, at=0)
        data = self.picture.blobs[self.layer]
        (self.store / (self.layer.removeprefix("sha256:") + ".partial")).write_bytes(data[:777])
        self.assertPulled(self.fetch(self.first, second), self.picture)
        self.assertIn("bytes=777-", [h.get("Range") for _, _, h in second.requests])

    def test_a_stalled_transfer_ends(self):
        def stall(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b"a little")
            self.first.release.wait()
            return True

        self.first.on_blob = stall
        began = time.monotonic()
        outcome = self.fetch(self.first, stallTimeoutMs=300)
        self.assertRefused(outcome, "timedOut", "no byte came for 300 ms")
        self.assertLess(time.monotonic() - began, 10)

    def test_nobody_listening(self):
        url = self.first.url
        self.first.stop()
        outcome = self.fetch({"url": url, "canResolve": True, "canPull": True})
        self.assertRefused(outcome, "unavailable", self.first.host)


class Lies(Fake):
    def test_a_blob_with_other_bytes(self):
        data = bytearray(self.picture.blobs[self.layer])
        data[100] ^= 1
        self.first.blobs[self.layer] = bytes(data)
        self.assertRefused(self.fetch(self.first), "digestMismatch", self.layer)
        self.assertFalse((self.store / self.layer.removeprefix("sha256:")).exists())

    def test_a_blob_with_more_bytes(self):
        self.first.blobs[self.layer] += b"more"
        self.assertRefused(self.fetch(self.first), "invalid", "more than the")

    def test_a_blob_with_fewer_bytes(self):
        self.first.blobs[self.layer] = self.first.blobs[self.layer][:-5]
        self.assertRefused(self.fetch(self.first), "invalid", "the endpoint has at most")

    def test_another_part_than_was_asked_for(self):
        data = self.picture.blobs[self.layer]
        (self.store / (self.layer.removeprefix("sha256:") + ".partial")).write_bytes(data[:1000])
        headers = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        self.first.on_blob = lambda h: "Range" in h.headers and (self.first.answer(h, 206, data, headers) or True)
        self.assertRefused(self.fetch(self.first), "invalid", "another part")

    def test_a_manifest_of_another_digest(self):
        other = self.image()
        self.first.manifests[self.picture.digest] = other.manifests[-1]
        for self.first.head_works in (True, False):
            outcome = self.fetch(self.first, tag="", digest=self.picture.digest)
            self.assertRefused(outcome, "digestMismatch", self.picture.digest, other.digest)

    def test_a_manifest_without_end(self):
        self.first.manifests["latest"] = (INDEX, b" " * (5 << 20))
        self.assertRefused(self.fetch(self.first), "invalid", "more than 4194304 bytes")

    def test_headers_without_end(self):
        def flood(handler):
            handler.send_response(200)
            for number in range(4000):
                handler.send_header(f"X-{number}", "y" * 100)
            handler.end_headers()
            return True

        self.first.on_manifest = flood
        self.assertRefused(self.fetch(self.first), "invalid", "headers are too long")

    def test_a_manifest_that_is_none(self):
        for body, code, words in (
            (b"<html>hello</html>", "invalid", "no JSON"),
            (b"[" * 100000, "invalid", "no JSON object"),
            (b'{"schemaVersion":1,"fsLayers":[]}', "unsupported", "schema 1"),
            (encode({"schemaVersion": 2, "config": descriptor("application/x-chart", b"{}"), "layers": []}),
             "unsupported", "no container image"),
        ):
            self.first.manifests["latest"] = self.first.manifests[digest_of(body)] = ("application/json", body)
            outcome = self.fetch(self.first)
            self.assertEqual(outcome.get("code"), code, outcome)
            self.assertTrue(words in outcome["message"] or "too deep" in outcome["message"], outcome)

    def test_an_image_for_another_machine(self):
        foreign = Image([Layer().add("x", b"")], architecture="riscv64")
        self.assertRefused(self.fetch(self.registry().add(foreign)), "notFound", "linux/riscv64")
        listed = self.image(index=True)
        outcome = self.fetch(self.registry().add(listed), architecture="s390x")
        self.assertRefused(outcome, "notFound", "linux/s390x")

    def test_an_error_text_with_controls_in_it(self):
        self.first.on_manifest = lambda h: self.first.refuse(h, 500, "\x1b[2J", "two\nlines") or True
        outcome = self.fetch(self.first)
        self.assertRefused(outcome, "unavailable", "HTTP 500")
        self.assertNotRegex(outcome["message"], "[\x00-\x1f]")


class Authentication(Fake):
    BASIC = {"basic": {"username": "user", "password": "secret"}}

    def test_basic(self):
        self.first.auth = "basic"
        self.assertPulled(self.fetch(self.first, credentials=self.BASIC), self.picture)
        self.assertNotIn("Authorization", self.first.requests[0][2])

    def test_bearer_by_name_and_password(self):
        self.first.auth = "bearer"
        self.assertPulled(self.fetch(self.first, credentials=self.BASIC), self.picture)
        asked = [path for path in self.first.paths("GET") if path.startswith("/token")]
        self.assertEqual(asked, ["/token?service=fake&scope=repository%3Ateam%2Fapp%3Apull"])

    def test_bearer_by_identity_token(self):
        self.first.auth = "bearer"
        self.assertPulled(self.fetch(self.first, credentials={"identityToken": "id&tok"}), self.picture)
        self.assertEqual(self.first.forms[0]["refresh_token"], "id&tok")
        self.assertEqual(self.first.forms[0]["grant_type"], "refresh_token")

    def test_registry_token(self):
        self.first.auth = "bearer"
        self.assertPulled(self.fetch(self.first, credentials={"registryToken": "t0ken"}), self.picture)
        self.assertEqual([p for p in self.first.paths() if "/token" in p], [])

    def test_a_token_that_runs_out_is_renewed(self):
        self.first.auth = "bearer"

        def expire(handler):
            if handler.path.endswith(self.layer) and self.first.token == "t0ken":
                self.first.token = "t1ken"
                return self.first.challenge(handler) or True
            return False

        self.first.on_blob = expire
        self.assertPulled(self.fetch(self.first, credentials=self.BASIC), self.picture)

    def test_refusals_say_why(self):
        for auth in ("basic", "bearer"):
            self.first.auth = auth
            self.assertRefused(
                self.fetch(self.first), "unauthorized", "HTTP 401", "UNAUTHORIZED", "no credentials were given")
            wrong = {"basic": {"username": "user", "password": "wrong"}}
            self.assertRefused(self.fetch(self.first, credentials=wrong), "unauthorized", "401")
        outcome = self.fetch(self.first, credentials=wrong)
        self.assertIn("incorrect username or password", outcome["message"])
        self.assertNotIn("wrong", outcome["message"].replace("incorrect", ""))

    def test_redirects_take_no_secrets_along(self):
        self.first.auth = "basic"
        storage = self.registry().add(self.picture)
        self.first.on_blob = lambda h: self.first.answer(h, 307, headers={"Location": storage.url + h.path}) or True
        host = {"url": self.first.url, "canResolve": True, "canPull": True,
                "headers": [{"name": "X-Secret", "value": "operator"}]}
        self.assertPulled(self.fetch(host, credentials=self.BASIC), self.picture)
        self.assertEqual(self.first.requests[-1][2]["X-Secret"], "operator")
        self.assertEqual(len(storage.requests), 3)
        for _, _, headers in storage.requests:
            self.assertNotIn("Authorization", headers)
            self.assertNotIn("X-Secret", headers)

    def test_redirects_end(self):
        self.first.on_blob = lambda h: self.first.answer(h, 302, headers={"Location": h.path}) or True
        self.assertRefused(self.fetch(self.first), "invalid", "redirects")
        self.first.on_blob = lambda h: self.first.answer(h, 302, headers={"Location": "file:///etc/passwd"}) or True
        self.assertRefused(self.fetch(self.first), "invalid", "no http or https URL")


class Mirrors(Fake):
    def mirror(self, registry, **members):
        return {"url": registry.url, "canResolve": True, "canPull": True, "isMirror": True, **members}

    def test_come_first_and_hear_the_original_name(self):
        mirror = self.registry().add(self.picture)
        self.assertPulled(self.fetch(self.mirror(mirror), self.first), self.picture)
        self.assertEqual(self.first.requests, [])
        self.assertTrue(all(path.endswith("?ns=registry.test") for path in mirror.paths()), mirror.paths())

    def test_never_see_credentials(self):
        mirror = self.registry().add(self.picture)
        mirror.auth = self.first.auth = "basic"
        outcome = self.fetch(self.mirror(mirror), self.first, credentials=Authentication.BASIC)
        self.assertPulled(outcome, self.picture)
        self.assertTrue(mirror.requests)
        for _, _, headers in mirror.requests:
            self.assertNotIn("Authorization", headers)

    def test_that_lack_something_are_passed_over(self):
        mirror = self.registry()
        self.assertPulled(self.fetch(self.mirror(mirror), self.first), self.picture)

    def test_that_lie_about_a_manifest_are_passed_over(self):
        mirror = self.registry().add(self.image())
        mirror.manifests[self.picture.digest] = mirror.manifests["latest"]
        outcome = self.fetch(self.mirror(mirror), self.first, tag="", digest=self.picture.digest)
        self.assertPulled(outcome, self.picture)

    def test_serve_only_what_they_may(self):
        mirror = self.registry().add(self.picture)
        self.assertPulled(self.fetch(self.mirror(mirror, canResolve=False), self.first), self.picture)
        self.assertFalse([p for p in mirror.paths() if "/manifests/latest" in p])
        self.assertTrue([p for p in mirror.paths() if "/blobs/" in p])

    def test_all_failures_are_told(self):
        mirror = self.registry()
        outcome = self.fetch(self.mirror(mirror), self.first, tag="none")
        self.assertRefused(outcome, "notFound", mirror.host, self.first.host)

    def test_override_path(self):
        self.assertPulled(self.fetch(self.mirror(self.first, url=self.first.url + "/root", overridePath=True)), self.picture)
        self.assertTrue(self.first.paths()[0].startswith("/root/team/app/manifests/"))


class Tls(Fake):
    def setUp(self):
        super().setUp()
        if not shutil.which("openssl"):
            self.skipTest("no openssl to make a certificate with")
        both = self.folder / "both.pem"
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self.folder / "key"), "-out",
             str(self.folder / "certificate")],
            capture_output=True, check=False,
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        self.certificate = (self.folder / "certificate").read_text()
        both.write_text((self.folder / "key").read_text() + self.certificate)
        self.secure = self.registry(certificate=str(both)).add(self.picture)
        self.host = {"url": self.secure.url, "canResolve": True, "canPull": True}

    def test_an_unknown_authority_is_refused(self):
        self.assertRefused(self.fetch(self.host), "unavailable", "certificate")

    def test_the_operators_authority_is_trusted(self):
        self.assertPulled(self.fetch({**self.host, "caFiles": [self.certificate]}), self.picture)

    def test_verification_can_be_skipped(self):
        self.assertPulled(self.fetch({**self.host, "skipVerify": True}), self.picture)

    def test_a_redirect_to_plain_http_is_refused(self):
        self.secure.on_blob = lambda h: self.secure.answer(h, 307, headers={"Location": self.first.url + h.path}) or True
        self.assertRefused(self.fetch({**self.host, "skipVerify": True}), "invalid", "without TLS")

    def test_credentials_go_to_no_plain_realm(self):
        self.secure.auth = "bearer"
        self.secure.realm = self.first.url
        outcome = self.fetch({**self.host, "skipVerify": True}, credentials=Authentication.BASIC)
        self.assertRefused(outcome, "invalid", "without TLS")
        self.assertEqual(self.first.requests, [])


class Confinement(Fake):
    def setUp(self):
        super().setUp()
        self.needRoot("give its powers away")

    def test_fetch(self):
        asked = threading.Event()
        self.first.on_manifest = lambda h: asked.set() or (self.first.release.wait() and False)

        def look(pid):
            asked.wait(20)
            try:
                self.assertConfined(pid, 0)
                for number in os.listdir(f"/proc/{pid}/fd"):
                    kind = os.readlink(f"/proc/{pid}/fd/{number}").split(":")[0]
                    self.assertIn(kind, ("pipe", "socket", "anon_inode", "/dev/null"))
            finally:
                self.first.release.set()

        self.assertPulled(self.fetch(self.first, during=look), self.picture)


if __name__ == "__main__":
    pull_case.main()
