"""The programs in the suite's images, from Debian's packages alone; made once and kept in a cache.

busybox is built from Debian's source: busybox-static lacks ipcs and pgrep, and runs applets without
exec, so that a masked file seems readable. nginx and httpd are Debian's, unpacked but not installed.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
CC = "clang-19"
PACKAGES = ["nginx", "nginx-common", "apache2-bin"]

# Off: what does not compile against today's kernel headers, and assembly that needs its own probing.
BUSYBOX_OFF = ["TC", "SHA1_HWACCEL", "SHA256_HWACCEL"]


def parts():
    """A folder with busybox, pause and nnp (static), and packages/, Debian's files of nginx and apache2."""
    key = hashlib.sha256()
    for path in sorted(HERE.glob("*.c")) + [pathlib.Path(__file__)]:
        key.update(path.read_bytes())
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    folder = cache / "belay/conformance" / key.hexdigest()[:16]
    if not folder.exists():
        _make(folder)
    return folder


def _make(folder):
    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        for name in ("pause", "nnp"):
            _run([CC, "-static", "-Os", "-o", str(work / name), str(HERE / f"{name}.c")])
        _busybox(work)
        _packages(work)
        try:
            work.rename(folder)
        except OSError:
            # Another run was faster.
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(command, **options):
    """Runs it; what it said goes into the error only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _busybox(work):
    print("building busybox from Debian's source (once, a minute or two)", flush=True)
    source = work / "busybox-source"
    source.mkdir()
    tarball = subprocess.run(
        [str(TREE / "scripts/debian-source"), "busybox", str(source)],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()
    with tarfile.open(tarball) as archive:
        archive.extractall(source)
    (tree,) = (path for path in source.iterdir() if path.is_dir())
    make = ["make", "-C", str(tree), f"CC={CC}", f"HOSTCC={CC}"]
    _run([*make, "defconfig"])
    config = (tree / ".config").read_text()
    config = re.sub(r"# CONFIG_STATIC is not set", "CONFIG_STATIC=y", config)
    for name in BUSYBOX_OFF:
        config = re.sub(rf"^CONFIG_{name}=y$", f"# CONFIG_{name} is not set", config, flags=re.MULTILINE)
    (tree / ".config").write_text(config)
    # Options that the change brought up get their defaults.
    _run([*make, "oldconfig"], input="\n" * 2000)
    _run([*make, f"-j{os.cpu_count()}", "busybox"])
    shutil.copy(tree / "busybox", work / "busybox")
    shutil.rmtree(source)


def _packages(work):
    archives = work / "archives"
    (archives / "partial").mkdir(parents=True)
    # --reinstall: also if the machine has them. Their libraries come along unless it has those.
    download = [
        "apt-get", "-q", "-y", "install", "--reinstall", "--download-only", "--no-install-recommends",
        "-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", *PACKAGES,
    ]
    try:
        _run(download)
    except RuntimeError:
        # Its lists may be older than the archive.
        subprocess.run(["apt-get", "-q", "update"], stdout=subprocess.DEVNULL, check=False)
        _run(download)
    for package in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(work / "packages")])
    shutil.rmtree(archives)
