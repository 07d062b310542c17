#!/usr/bin/env python3
"""Writes the golden files of this folder, by programs of the commit whose bytes are to be kept.

usage: tests/format/make_golden.py COMMIT FOLDER

The present files of the formats' versions 1 (heap: 2) were made so from 14d8daa. The programs are
`strata` and make_golden (its sources from this tree, the library from that one), which takes some
minutes to build. A change of a layout makes new files beside the old ones, with the new version in
their names, and leaves the old ones and their tests alone.
"""

import gzip
import itertools
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, ROOT)
from tests.format import golden, old_tree  # noqa: E402


def pack(path, folder):
    with open(path, "rb") as file:
        content = file.read()
    name = os.path.join(folder, os.path.basename(path) + ".gz")
    # Without name and time: the same bytes whenever it is made.
    with open(name, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(content)


def make_pool(run, make_golden, pool, work):
    def file_of(content):
        path = os.path.join(work, "content")
        with open(path, "wb") as file:
            file.write(content)
        return path

    run("pool", "create", pool, "--size", "12M", "--slots", str(golden.SLOTS))
    for content in golden.MODEL.values():
        run("pool", "import", pool, "model", file_of(content), "--keep", "2")
    run("put", file_of(golden.WEIGHTS), f"pmem:{pool}#weights", "--seal")
    run("put", file_of(golden.NOTES), f"pmem:{pool}#notes", "--max-size", str(golden.NOTES_ROOM))
    for ending in ("closed", "unfinished"):
        subprocess.run([make_golden, "heap-in", f"pmem:{pool}#{ending}", ending], check=True)


def make_interrupted(strata, pool, work, files):
    """Two pools in which an import died: the last moment at which its last transaction was in hand,
    and the last one before the end of the change. Each msync of it is a moment to die at."""
    content, killed = os.path.join(work, "content"), os.path.join(work, "killed.pool")
    with open(content, "wb") as file:
        file.write(golden.NEXT)
    found = {}
    for count in itertools.count(1):
        shutil.copy(pool, killed)
        kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=msync"]
        kill += ["-e", f"inject=msync:signal=KILL:when={count}"]
        command = [strata, "pool", "import", killed, "model", content, "--keep", "2"]
        if subprocess.run([*kill, *command], check=False).returncode == 0:
            break
        with open(killed, "rb") as file:
            left = file.read()
        is_changing, is_torn = golden.is_mid_change(left)
        if is_changing:
            found["mid" if is_torn else "after"] = left
    for moment, left in found.items():
        with open(os.path.join(files, f"pool_{moment}_change_v1.pool"), "wb") as file:
            file.write(left)


def main(commit, folder):
    with tempfile.TemporaryDirectory(prefix="strata-golden-") as work:
        tree = old_tree.unpack(ROOT, commit, os.path.join(work, "tree"))
        old_tree.add_generator(ROOT, tree)
        targets = ["//tools:strata", "//tests/format:make_golden"]
        old_strata, make_golden = old_tree.build(tree, os.path.join(work, "programs"), targets)
        files = os.path.join(work, "files")
        os.mkdir(files)
        for what in ("lists", "segments", "sync", "heap"):
            subprocess.run([make_golden, what, files], check=True)
        pool = os.path.join(files, "pool_v1.pool")
        run = lambda *arguments: subprocess.run([old_strata, *arguments], check=True)  # noqa: E731
        make_pool(run, make_golden, pool, work)
        run("pool", "backup", pool, os.path.join(files, "backup_v1.backup"))
        make_interrupted(old_strata, pool, work, files)
        for name in sorted(os.listdir(files)):
            pack(os.path.join(files, name), folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
