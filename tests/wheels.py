"""Packages of PyPI that a test compares with or compiles against, pinned, unpacked into a cache and
never installed.

Each test names the version that it was written for, so that what a later one changes fails nobody.

usage: wheels.py NAME VERSION    -- fills the cache and prints the unpacked tree
"""

import fcntl
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import zipfile

FETCH_TIMEOUT_S = 300


class Unavailable(Exception):
    """The package cannot be had here; the text is the reason that a skipped test states."""


def cache_dir():
    """Bazel gives a test neither HOME nor XDG_CACHE_HOME, so the user database decides."""
    chosen = os.environ.get("STRATA_WHEEL_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    home = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
    if os.access(home, os.W_OK):
        return home / ".cache" / "strata-wheels"
    return pathlib.Path("/var/tmp") / ("strata-wheels-%d" % os.getuid())


def _download(name, version, into):
    command = [
        "/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
        "--disable-pip-version-check", "-d", str(into), "%s==%s" % (name, version),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=FETCH_TIMEOUT_S, check=False)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unavailable("pip got no %s %s in %d s" % (name, version, FETCH_TIMEOUT_S)) from error
    if done.returncode != 0:
        raise Unavailable("pip got no %s %s: %s" % (name, version, done.stdout.strip()[-300:]))
    return next(into.glob("*.whl"))


def fetch(name, version):
    """The tree of an unpacked wheel, from the cache or from PyPI.

    Raises Unavailable where it is in neither.
    """
    return fetch_together("%s-%s" % (name, version), [(name, version)])


def fetch_together(folder, packages):
    """One tree of several wheels, as they would be installed beside each other."""
    root = cache_dir()
    tree = root / folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / "lock", "w")
    except OSError as error:
        raise Unavailable("cannot write the cache %s: %s" % (root, error)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may start at once
        if (tree / "complete").exists():
            return tree
        shutil.rmtree(tree, ignore_errors=True)
        for name, version in packages:
            with tempfile.TemporaryDirectory(dir=root) as work:
                wheel = _download(name, version, pathlib.Path(work))
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(tree)
        # Last: a tree without this file was cut off half way.
        (tree / "complete").touch()
    return tree


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(fetch(*arguments))
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
