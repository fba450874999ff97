"""The images critest v1.36.0 pulls: what it expects in them, by name, tag, user and volume."""
import os
import pathlib
import platform
import subprocess
import tarfile

from harness.registry import Image, Layer

STAGING = "k8s-staging-cri-tools"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""

NGINX_CONF = """\
user nginx;
worker_processes 1;
error_log /var/log/nginx/error.log warn;
pid /var/run/nginx.pid;
events { worker_connections 64; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log;
  client_body_temp_path /var/cache/nginx/client;
  proxy_temp_path /var/cache/nginx/proxy;
  fastcgi_temp_path /var/cache/nginx/fastcgi;
  uwsgi_temp_path /var/cache/nginx/uwsgi;
  scgi_temp_path /var/cache/nginx/scgi;
  server {
    listen PORT;
    server_name localhost;
    location / { root /usr/share/nginx/html; index index.html; }
  }
}
"""

HTTPD_CONF = """\
ServerRoot /usr/local/apache2
ServerName localhost
Listen 80
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule dir_module modules/mod_dir.so
LoadModule mime_module modules/mod_mime.so
User www-data
Group www-data
PidFile logs/httpd.pid
Mutex file:/usr/local/apache2/logs default
TypesConfig /dev/null
DocumentRoot /usr/local/apache2/htdocs
DirectoryIndex index.html
ErrorLog /proc/self/fd/2
LogLevel warn
StartServers 1
ThreadsPerChild 25
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
CustomLog /proc/self/fd/1 common
<Directory />
  Require all granted
</Directory>
"""
HTTPD_MODULES = ["mpm_event", "authz_core", "dir", "mime"]
HTTPD_START = """\
#!/bin/sh
set -e
rm -f /usr/local/apache2/logs/httpd.pid
exec httpd -DFOREGROUND -f /usr/local/apache2/conf/httpd.conf
"""


class Tree:
    """A layer that makes the parents of what is put into it."""

    def __init__(self):
        self.layer, self.folders = Layer(), set()

    def folder(self, path, mode=0o755, uid=0, gid=0):
        if path and path not in self.folders:
            self.folder(os.path.dirname(path))
            self.folders.add(path)
            self.layer.directory(path, mode, uid, gid)
        return self

    def file(self, path, data, mode=0o644):
        self.folder(os.path.dirname(path))
        self.layer.add(path, data.encode() if isinstance(data, str) else data, mode=mode)
        return self

    def copy(self, path, source, mode=0o755):
        return self.file(path, pathlib.Path(source).read_bytes(), mode)

    def link(self, path, target, kind=tarfile.SYMTYPE):
        self.folder(os.path.dirname(path))
        self.layer.add(path, mode=0o777, kind=kind, link=target)
        return self

    def users(self, passwd="", group=""):
        return self.file("etc/passwd", PASSWD + passwd).file("etc/group", GROUP + group)

    def bytes(self):
        return self.layer.bytes()


def busybox_root(parts):
    tree = Tree()
    for path in ("dev", "etc", "lib", "sbin", "usr/bin", "usr/sbin", "var/run", "var/www"):
        tree.folder(path)
    tree.folder("tmp", 0o1777).folder("root", 0o700).folder("home", 0o755, 65534, 65534)
    tree.copy("bin/busybox", parts / "busybox")
    applets = subprocess.run([parts / "busybox", "--list"], capture_output=True, text=True, check=True).stdout
    for applet in applets.split():
        if applet != "busybox":
            tree.link(f"bin/{applet}", "bin/busybox", tarfile.LNKTYPE)
    return tree.users().bytes()


def libraries(packages, *programs):
    """path in the image -> file, of all shared libraries the programs load, and the loader."""
    triplet = f"usr/lib/{platform.machine()}-linux-gnu"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(packages / triplet)}
    found = {}
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, env=environment).stdout
        for line in listed.splitlines():
            words = line.split()
            if "=>" in words and words[2].startswith("/"):
                found["usr/lib/" + words[0]] = words[2]
            elif words[0].startswith("/"):
                found[words[0].lstrip("/")] = words[0]
    # Ending a thread loads it by name.
    found["usr/lib/libgcc_s.so.1"] = f"/{triplet}/libgcc_s.so.1"
    return found


def nginx_layer(packages, port):
    tree = Tree().copy("usr/sbin/nginx", packages / "usr/sbin/nginx")
    tree.copy("etc/nginx/mime.types", packages / "etc/nginx/mime.types", 0o644)
    tree.file("etc/nginx/nginx.conf", NGINX_CONF.replace("PORT", str(port)))
    tree.users("nginx:x:101:101:nginx:/nonexistent:/bin/false\n", "nginx:x:101:\n")
    tree.folder("var/cache/nginx", uid=101, gid=101).folder("var/lib/nginx", uid=101, gid=101)
    tree.link("var/log/nginx/access.log", "/dev/stdout").link("var/log/nginx/error.log", "/dev/stderr")
    return tree.file("usr/share/nginx/html/index.html", "<h1>Welcome to nginx!</h1>\n").bytes()


def httpd_layer(packages):
    tree = Tree().copy("usr/local/apache2/bin/httpd", packages / "usr/sbin/apache2")
    for name in HTTPD_MODULES:
        tree.copy(f"usr/local/apache2/modules/mod_{name}.so", packages / f"usr/lib/apache2/modules/mod_{name}.so")
    tree.folder("usr/local/apache2/logs", uid=33, gid=33)
    tree.file("usr/local/apache2/conf/httpd.conf", HTTPD_CONF)
    tree.file("usr/local/apache2/htdocs/index.html", "<h1>It works!</h1>\n")
    return tree.file("usr/local/bin/httpd-foreground", HTTPD_START, 0o755).bytes()


def push_all(registry, parts):
    """Pushes every image of the suite to a registry (harness.registry)."""
    shell = {"Env": [PATH], "Cmd": ["sh"]}
    base = busybox_root(parts)
    # The suite's own images are for several platforms.
    def push(repository, tags, layers, config):
        image = Image(layers, config, index=True)
        for tag in tags:
            registry.push(image, repository, tag)

    push("e2e-test-images/busybox", ["1.29-2", "1.36.1-1"], [base], shell)
    for name, user in (("uid", "1002"), ("username", "www-data"), ("uid-group", "1003:1004"), ("username-group", "www-data:1004")):
        push(f"{STAGING}/test-image-user-{name}", ["latest"], [base], {**shell, "User": user})
    groups = Tree().users(
        "default-user:x:1000:1000::/home/default-user:/bin/sh\n",
        "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n",
    ).folder("home/default-user", uid=1000, gid=1000)
    push(f"{STAGING}/test-image-predefined-group", ["latest"], [base, groups.bytes()], {**shell, "User": "1000"})
    for name in ("1", "2", "3", "latest", "digest"):
        push(f"{STAGING}/test-image-{name}", ["latest"], [base, Tree().file(f"test-image-{name}", "").bytes()], shell)
    push(f"{STAGING}/test-image-tags", ["1", "2", "3"], [base, Tree().file("same-image", "").bytes()], shell)
    for tag in ("test", "all"):
        push(f"{STAGING}/test-image-tag", [tag], [base, Tree().file(tag, "").bytes()], shell)
    push_servers(push, parts / "packages", base)
    push("e2e-test-images/nonewprivs", ["1.3"], [base, Tree().copy("nnp", parts / "nnp", 0o4755).bytes()],
         {"Env": [PATH], "Entrypoint": ["/nnp"]})
    for tag in ("3.9", "3.10", "3.10.1", "3.10.2"):
        # Each is another image.
        pause = Tree().copy("pause", parts / "pause").file("tag", tag)
        push("pause", [tag], [pause.bytes()], {"Env": [PATH], "User": "65535:65535", "Entrypoint": ["/pause"]})


def push_servers(push, packages, base):
    """nginx, on the usual port and on the host's 12003, and httpd."""
    modules = [packages / f"usr/lib/apache2/modules/mod_{name}.so" for name in HTTPD_MODULES]
    shared = Tree()
    for path, source in libraries(packages, packages / "usr/sbin/nginx", packages / "usr/sbin/apache2", *modules).items():
        shared.copy(path, source)
    shared = shared.bytes()
    nginx = {
        "Env": [PATH, "LD_LIBRARY_PATH=/usr/lib"], "Cmd": ["nginx", "-g", "daemon off;"],
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM",
    }
    push("e2e-test-images/nginx", ["1.14-2", "1.15-4"], [base, shared, nginx_layer(packages, 80)], nginx)
    push(f"{STAGING}/hostnet-nginx-amd64", ["latest"], [base, shared, nginx_layer(packages, 12003)], nginx)
    httpd = {
        "Env": ["PATH=/usr/local/apache2/bin:" + PATH[5:], "LD_LIBRARY_PATH=/usr/lib"],
        "Cmd": ["httpd-foreground"], "WorkingDir": "/usr/local/apache2", "ExposedPorts": {"80/tcp": {}},
    }
    push("e2e-test-images/httpd", ["2.4.39-4", "2.4.38-4"], [base, shared, httpd_layer(packages)], httpd)
