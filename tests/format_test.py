"""Every C++ file is as clang-format leaves it: `git ls-files '*.cc' '*.h' | xargs clang-format -i`."""

import os
import subprocess

from tests.include_order_test import source_files


def test_every_source_is_formatted():
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    files = sorted(source_files(root))
    assert files
    run = subprocess.run(
        ["clang-format", "--dry-run", "-Werror"] + files,
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if ": error:" in line})
    assert run.returncode == 0, "run clang-format -i on: " + " ".join(wrong)
