"""What one user's command may do to another user's segments, and to second names of them."""

import json
import os
import shutil
import subprocess
import tempfile

import pytest

from tests.e2e.command import DONE, REFUSED, STRATA, new_name, ok, refusal

ALICE, BOB = 1234, 1235


@pytest.fixture(scope="module")
def command():
    """The command where every user may run it: the build's own directories may be closed."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to act as several users")
    directory = tempfile.mkdtemp(dir="/tmp")
    os.chmod(directory, 0o755)
    yield shutil.copy(STRATA, directory)
    shutil.rmtree(directory)


@pytest.fixture
def run_as(command):
    def run(user, *arguments):
        return subprocess.run(
            [command, *arguments],
            user=user,
            group=user,
            extra_groups=[],
            capture_output=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_refused_rm_leaves_another_users_segment_as_it_was(run_as, force):
    name = new_name()
    uri = f"shm:{name}"
    assert run_as(ALICE, "create", uri, "--size", "64K", "--mode", "0666").returncode == DONE
    with open(f"/dev/shm/strata.{name}", "rb") as file:
        before = file.read()
    refused = run_as(BOB, "rm", *force, uri)
    assert refused.returncode == REFUSED, refused.stderr
    assert b"it belongs to uid 1234" in refused.stderr
    with open(f"/dev/shm/strata.{name}", "rb") as file:
        assert file.read() == before
    assert run_as(ALICE, "cat", uri).returncode == DONE
    decisions = json.loads(run_as(ALICE, "gc", "--dry-run", "--json").stdout)["candidates"]
    assert [each["orphan"] for each in decisions if each["uri"] == uri] == [False]
    assert run_as(ALICE, "rm", uri).returncode == DONE


def test_rm_of_a_second_name_tells_how_to_take_it_away_and_leaves_the_segment():
    name, second = new_name(), new_name()
    ok("create", f"shm:{name}", "--size", "64K")
    os.link(f"/dev/shm/strata.{name}", f"/dev/shm/strata.{second}")
    try:
        error = refusal(REFUSED, "rm", "--force", f"shm:{second}")
        assert f"belongs to shm:{name}" in error["message"]
        assert error["message"].endswith(f"rm /dev/shm/strata.{second}")
        ok("cat", f"shm:{name}")
    finally:
        os.unlink(f"/dev/shm/strata.{second}")
        ok("rm", f"shm:{name}")
