"""A registry that does what a test tells it to: refuse, redirect, lie, break off, stall.

The real one (harness/registry.py) shows that belay-pull works; this one shows what happens when the
other side does not.
"""
import base64
import http.server
import json
import ssl
import threading
import urllib.parse

from harness.registry import digest_of


class FakeRegistry:
    """Serves the images added to it below /v2/; `requests` lists what came, in order."""

    def __init__(self, certificate=None):
        self.blobs = {}
        self.manifests = {}  # reference -> (media type, bytes)
        self.requests = []  # (method, path, headers)
        self.forms = []
        self.auth = None  # None, "basic" or "bearer"
        self.realm = None  # another server's URL for tokens
        self.user, self.password, self.token = "user", "secret", "t0ken"
        self.on_blob = None  # called with the handler; True: it has answered
        self.on_manifest = None
        self.head_works = True
        self.release = threading.Event()  # lets stalled answers go at the end
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                outer.serve(self)

            def do_HEAD(self):
                outer.serve(self)

            def do_POST(self):
                outer.serve(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients that hang up are what some tests are about.
        self.server.handle_error = lambda *arguments: None
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.scheme}://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, image, tag="latest"):
        self.blobs.update(image.blobs)
        for kind, data in image.manifests:
            self.manifests[digest_of(data)] = (kind, data)
        self.manifests[tag] = image.manifests[-1]
        return self

    def stop(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def paths(self, method=None):
        return [path for m, path, _ in self.requests if method in (None, m)]

    # What follows runs on the server's threads.

    def serve(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        self.requests.append((handler.command, handler.path, dict(handler.headers.items())))
        if url.path == "/token":
            return self.give_token(handler)
        if not self.allowed(handler):
            return self.challenge(handler)
        kind, name = url.path.split("/")[-2:]
        if kind == "manifests":
            return self.give_manifest(handler, name)
        return self.give_blob(handler, name)

    def answer(self, handler, status, body=b"", headers=None):
        handler.send_response(status)
        for key, value in (headers or {}).items():
            handler.send_header(key, value)
        if "Content-Length" not in (headers or {}):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def refuse(self, handler, status, code, message="no"):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(handler, status, body, {"Content-Type": "application/json"})

    def basic(self):
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def allowed(self, handler):
        given = handler.headers.get("Authorization")
        return self.auth is None or given == {"basic": self.basic(), "bearer": f"Bearer {self.token}"}[self.auth]

    def challenge(self, handler):
        value = 'Basic realm="here"'
        if self.auth == "bearer":
            value = f'Bearer realm="{self.realm or self.url}/token",service="fake"'
        body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}).encode()
        self.answer(handler, 401, body, {"WWW-Authenticate": value})

    def give_token(self, handler):
        if handler.command == "POST":
            form = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
            self.forms.append(dict(urllib.parse.parse_qsl(form)))
            return self.answer(handler, 200, json.dumps({"access_token": self.token}).encode())
        given = handler.headers.get("Authorization")
        if given is not None and given != self.basic():
            return self.answer(handler, 401, b'{"details":"incorrect username or password"}')
        # As nobody one gets a token too, which opens nothing.
        token = self.token if given else "nobody"
        return self.answer(handler, 200, json.dumps({"token": token}).encode())

    def give_manifest(self, handler, name):
        if self.on_manifest and self.on_manifest(handler):
            return
        if handler.command == "HEAD" and not self.head_works:
            return self.answer(handler, 405)
        if name not in self.manifests:
            return self.refuse(handler, 404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, data = self.manifests[name]
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest_of(data), "Content-Length": str(len(data))}
        self.answer(handler, 200, data, headers)

    def give_blob(self, handler, name):
        if self.on_blob and self.on_blob(handler):
            return
        if name not in self.blobs:
            return self.refuse(handler, 404, "BLOB_UNKNOWN", "blob unknown to registry")
        data = self.blobs[name]
        wanted = handler.headers.get("Range")
        if wanted is None:
            return self.answer(handler, 200, data)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if begin >= len(data):
            return self.answer(handler, 416)
        self.answer(handler, 206, data[begin:], {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"})
