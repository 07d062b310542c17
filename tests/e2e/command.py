"""What the tests of the command line share: running `strata`, and names that clean up."""

import atexit
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time

STRATA = os.path.abspath(os.environ.get("STRATA", "tools/strata"))
DONE, FAILED, USAGE, NOT_FOUND, REFUSED, UNKNOWN = range(6)
_numbers = itertools.count()

# As bazel/python_test.bzl does, for tests that are run by hand.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="strata-e2e-state-", dir="/tmp")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)


def strata(*arguments, stdin=None):
    """Runs the command; stdout and stderr are bytes."""
    return subprocess.run(
        [STRATA, *map(str, arguments)], input=stdin, capture_output=True, timeout=100, check=False
    )


def ok(*arguments):
    run = strata(*arguments)
    assert run.returncode == DONE, run.stderr.decode()
    return run.stdout


def as_json(*arguments):
    return json.loads(ok(*arguments, "--json"))


def refusal(code, *arguments):
    """The error object of a command that must end with that exit code."""
    run = strata(*arguments, "--json")
    assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
    return json.loads(run.stderr)["error"]


def new_name():
    return f"e2e-{os.getpid()}-{next(_numbers)}"


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Holder:
    """A process that stays attached: `strata create --lifetime process`."""

    def __init__(self, uri, *arguments):
        self.process = subprocess.Popen(
            [STRATA, "create", uri, "--size", "1M", "--lifetime", "process", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert b"created" in self.process.stdout.readline()

    def end(self, signal=None):
        if signal is None:
            self.process.terminate()
        else:
            self.process.send_signal(signal)
        self.process.communicate(timeout=20)
        return self.process.returncode
