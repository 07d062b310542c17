"""Every C++ file is as clang-format leaves it: `git ls-files '*.c' '*.cc' '*.cu' '*.h' | xargs clang-format -i`."""

import os
import shutil
import subprocess

from tests.include_order_test import source_files


def test_every_source_is_formatted(tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    files = sorted(source_files(root))
    assert files
    # On copies, since --dry-run of clang-format 14 reports the ends of inline namespaces, which it
    # then leaves as they are.
    shutil.copy(os.path.join(root, ".clang-format"), tmp_path)
    for name in files:
        os.makedirs(tmp_path / os.path.dirname(name), exist_ok=True)
        shutil.copyfile(os.path.join(root, name), tmp_path / name)
    subprocess.run(["clang-format", "-i"] + files, cwd=tmp_path, check=True)
    wrong = []
    for name in files:
        with open(os.path.join(root, name), "rb") as is_so, open(tmp_path / name, "rb") as formatted:
            if is_so.read() != formatted.read():
                wrong.append(name)
    assert wrong == [], "run clang-format -i on them"
