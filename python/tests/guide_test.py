"""The snippets of docs/guides/python.md run as they stand."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

GUIDE = pathlib.Path("docs/guides/python.md")


def snippets():
    """(line, code) of every indented block that begins with an import."""
    found, block, begin = [], [], 0
    for number, line in enumerate(GUIDE.read_text(encoding="utf-8").split("\n") + ["end"], 1):
        if line.startswith("    "):
            begin = begin or number
            block.append(line[4:])
        elif line == "" and block:
            block.append("")
        elif block:
            code = "\n".join(block)
            if re.match(r"(import|from) ", code):
                found.append((begin, code))
            block, begin = [], 0
    return found


@pytest.mark.parametrize(("line", "code"), snippets(), ids=lambda value: str(value)[:20])
def test_a_snippet_runs(line, code, tmp_path):
    script = tmp_path / ("line_%d.py" % line)
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"})  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_there_are_snippets():
    assert len(snippets()) >= 3
