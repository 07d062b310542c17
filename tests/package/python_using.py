"""What the tests of the package for Python share: how it is built, and where it is installed."""

import os
import re
import subprocess
import sys

import pytest

from tests import wheels
from tests.package.using import run, source_root

# What pip would fetch to build it with, and what checks types.
BUILD_TOOLS = [
    ("scikit-build-core", "1.1.2"),
    ("nanobind", "3.1.0"),
    ("packaging", "26.4"),
    ("pathspec", "1.1.1"),
]
TYPE_CHECKERS = [
    ("mypy", "2.4.1"),
    ("mypy-extensions", "1.2.0"),
    ("typing-extensions", "4.16.0"),
    ("pathspec", "1.1.1"),
    ("librt", "0.17.0"),
    ("ast-serialize", "0.13.1"),
]
NUMPY = [("numpy", "2.2.6")]


def tree_of(folder, packages):
    """A folder for PYTHONPATH, from the cache or from PyPI; else the test is skipped."""
    try:
        return str(wheels.fetch_together(folder, packages))
    except wheels.Unavailable as why:
        pytest.skip(str(why))


def readme_lines():
    """The program in Python that the README shows."""
    with open(f"{source_root()}/README.md") as readme:
        (code,) = re.findall("```python\n(.*?)```", readme.read(), flags=re.S)
    return code


def build_wheel(place, prefix, python=sys.executable, **environment):
    """The wheel of the tree, linked with the Strata that is installed in `prefix`."""
    tools = tree_of("python-build-tools", BUILD_TOOLS)
    settings = {
        "cmake.define.strata_DIR": f"{prefix}/lib/cmake/strata",
        "build-dir": f"{place}/build",
    }
    run(
        python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        "--wheel-dir", f"{place}/wheel",
        *[f"--config-settings={name}={value}" for name, value in settings.items()],
        source_root(), env=dict(os.environ, PYTHONPATH=tools, **environment),
    )  # fmt: skip
    (wheel,) = os.listdir(f"{place}/wheel")
    return f"{place}/wheel/{wheel}"


class Environment:
    """A virtual environment with the wheel in it, and nothing else."""

    def __init__(self, place, wheel, python=sys.executable):
        self.place = place
        self.python = f"{place}/bin/python"
        run(python, "-m", "venv", place)
        run(self.python, "-m", "pip", "install", "--no-index", "--no-deps", wheel)
        self.package = os.path.dirname(self.run("import strata; print(strata.__file__)").strip())

    def environment(self, *trees, **more):
        # Not that of the test itself, in which the tree's own files are found.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return dict(kept, PYTHONPATH=":".join(trees), **more)

    def run(self, code, *trees, **more):
        """What an interpreter that runs the code prints."""
        # From a folder without any modules of Python.
        return run(
            self.python, "-c", code, cwd=f"{self.place}/lib", env=self.environment(*trees, **more)
        )

    def failing(self, *command, trees=(), **more):
        """The output of a command, and whether it failed."""
        done = subprocess.run(
            command, cwd=f"{self.place}/lib", env=self.environment(*trees, **more), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
        return done.returncode != 0, done.stdout
