"""The guest's kernel: Debian's cloud kernel, unpacked into a cache and never installed.

A package gives a known, signed kernel in a second and leaves the host's boot alone. The cloud
flavour has ext4 built in and everything else that the guest needs as modules.

usage: kernel.py fetch    -- fills the cache; `./check` runs it before the tests
       kernel.py where    -- prints the unpacked tree
"""

import fcntl
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

META_PACKAGE = "linux-image-cloud-amd64"
FETCH_TIMEOUT_S = 120


class Unavailable(Exception):
    """Emulation cannot run here; the text is the reason that a skipped test states."""


def cache_dir():
    """The directory that a test and `./check` agree on.

    Bazel gives a test neither HOME nor XDG_CACHE_HOME, so the user database decides.
    """
    chosen = os.environ.get("STRATA_VM_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    home = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
    if os.access(home, os.W_OK):
        return home / ".cache" / "strata-vm"
    return pathlib.Path("/var/tmp") / ("strata-vm-%d" % os.getuid())


def _run(command, cwd=None):
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=FETCH_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise Unavailable("%s: %s" % (" ".join(map(str, command)), done.stdout.strip()[-300:]))
    return done.stdout


def _real_package():
    """The versioned package behind the meta package, as apt's lists have it today."""
    for line in _run(["apt-cache", "depends", META_PACKAGE]).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise Unavailable("apt knows no %s; try: apt-get update" % META_PACKAGE)


def _unpacked(root):
    """The newest complete tree in the cache, or None."""
    trees = sorted(p.parent for p in root.glob("*/complete")) if root.is_dir() else []
    return trees[-1] if trees else None


def fetch():
    """Unpacks the kernel into the cache unless one is there; returns its tree.

    Raises Unavailable where no package can be had.
    """
    root = cache_dir()
    found = _unpacked(root)
    if found:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable("cannot write the cache %s: %s" % (root, error)) from error
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable("no kernel in %s and no %s to fetch one" % (root, tool))
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may start at once
        found = _unpacked(root)
        if found:
            return found
        try:
            package = _real_package()
        except Unavailable:
            if os.getuid() != 0:
                raise
            _run(["apt-get", "update", "-q"])  # a new machine has no lists yet
            package = _real_package()
        with tempfile.TemporaryDirectory(dir=root) as work:
            _run(["apt-get", "download", package], cwd=work)
            archive = next(pathlib.Path(work).glob("*.deb"))
            tree = root / package
            shutil.rmtree(tree, ignore_errors=True)
            _run(["dpkg-deb", "-x", archive, tree])
            # Last: a tree without this file was cut off half way.
            (tree / "complete").touch()
    return tree


def image(tree):
    """The bootable file of an unpacked kernel."""
    return next((tree / "boot").glob("vmlinuz-*"))


def modules_dir(tree):
    return next((tree / "lib" / "modules").iterdir())


def module_order(tree, wanted):
    """Paths of the wanted modules and all they need, in loading order.

    Every module names what it needs in its own ELF section. modprobe would answer for the host's
    kernel, and Debian's package holds no modules.dep: its install script would run depmod.
    A name that this kernel has not (or has built in) is left out: the guest's cases find out.
    """
    paths = {_module_name(path): path for path in modules_dir(tree).rglob("*.ko")}
    order = []

    def add(name):
        path = paths.get(name)
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in depends.group(1).decode().split(",") if depends else ():
            add(_module_name(other))
        order.append(path)

    for name in wanted:
        add(name)
    return order


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def main(arguments):
    if arguments not in (["fetch"], ["where"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(fetch())
    except Unavailable as error:
        print("no guest kernel: %s" % error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
