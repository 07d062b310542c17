"""`strata put` and `pool import` from pipes: whole or not at all, with and without a size."""

import os
import signal
import subprocess

import pytest

from tests.e2e.command import DONE, REFUSED, STRATA, USAGE, as_json, new_name, ok, strata, wait_until

CONTENT = os.urandom(3_000_001)


@pytest.fixture
def pool(tmp_path):
    ok("pool", "create", tmp_path / "run.pool", "--size", "32M")
    return tmp_path / "run.pool"


@pytest.fixture(params=["shm", "pmem"])
def uri(request, pool):
    name = f"shm:{new_name()}" if request.param == "shm" else f"pmem:{pool}#mesh"
    yield name
    strata("rm", "--force", name)


@pytest.mark.parametrize("size", [(), ("--size", len(CONTENT))])
def test_put_from_a_pipe_gives_back_every_byte(uri, size):
    run = strata("put", "-", uri, *size, "--seal", stdin=CONTENT)
    assert run.returncode == DONE, run.stderr
    ok("verify", uri)
    assert ok("cat", uri) == CONTENT


def test_put_from_a_process_substitution_gives_back_every_byte(uri, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    subprocess.run(["bash", "-c", f"'{STRATA}' put <(cat '{tmp_path}/file') '{uri}'"], check=True)
    assert ok("cat", uri) == CONTENT


def test_put_from_an_open_file_begins_where_it_stands(uri, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with open(tmp_path / "file", "rb", buffering=0) as file:
        file.seek(1000)
        subprocess.run([STRATA, "put", "-", uri], stdin=file, check=True)
    assert ok("cat", uri) == CONTENT[1000:]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_pipe_of_another_length_than_told_leaves_nothing(uri, wrong):
    run = strata("put", "-", uri, "--size", len(CONTENT) + wrong, stdin=CONTENT)
    assert run.returncode == REFUSED, run.stderr
    assert strata("info", uri).returncode != DONE
    assert strata("put", "-", uri, stdin=CONTENT).returncode == DONE


def test_an_empty_pipe_is_refused_as_an_empty_file_is(uri):
    assert strata("put", "-", uri, stdin=b"").returncode == USAGE
    assert strata("info", uri).returncode != DONE


def test_more_than_the_pool_holds_is_not_kept_before_it_is_refused(pool):
    with open("/dev/zero", "rb") as endless:
        run = subprocess.run([STRATA, "put", "-", f"pmem:{pool}#mesh"], stdin=endless,
                             capture_output=True, timeout=100, check=False)  # fmt: skip
    assert run.returncode == 1 and b"there is room for 32 MiB" in run.stderr, run.stderr


def test_a_put_that_is_killed_while_its_pipe_stalls_leaves_nothing(uri):
    put = subprocess.Popen([STRATA, "put", "-", uri, "--size", "2M"], stdin=subprocess.PIPE,
                           stdout=subprocess.DEVNULL)  # fmt: skip
    put.stdin.write(bytes(1 << 20))
    put.stdin.flush()

    def has_read_all():
        with open(f"/proc/{put.pid}/wchan") as where:
            return "pipe" in where.read()

    try:
        wait_until(has_read_all)
    except (AssertionError, OSError):
        pytest.skip("the kernel does not tell what a process waits for")
    finally:
        put.send_signal(signal.SIGKILL)
        put.communicate()
    # Nobody can attach to what is left in shared memory, and the next creator takes its place.
    assert strata("cat", uri, "--timeout-ms", 0).returncode != DONE
    assert strata("put", "-", uri, stdin=CONTENT).returncode == DONE
    assert ok("cat", uri) == CONTENT


@pytest.mark.parametrize("size", [(), ("--size", len(CONTENT))])
def test_import_from_a_pipe_makes_a_verified_version(pool, tmp_path, size):
    run = strata("pool", "import", pool, "model", "-", *size, stdin=CONTENT)
    assert run.returncode == DONE, run.stderr
    ok("pool", "export", pool, "model", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_put_into_a_pool_makes_a_live_segment_that_can_grow(pool, tmp_path):
    uri = f"pmem:{pool}#log"
    (tmp_path / "file").write_bytes(CONTENT)
    ok("put", tmp_path / "file", uri, "--max-size", "4M")
    ok("grow", uri, "4M")
    assert ok("cat", uri) == CONTENT + bytes((4 << 20) - len(CONTENT))
    assert [one["checksum_block_bytes"] for one in as_json("pool", "ls", pool)["segments"]] == [0]
