"""The limits of a process: what goes beyond one is an error that names it, never a signal."""

import ctypes
import os
import resource
import struct
import subprocess

import pytest

from tests.e2e.command import DONE, STRATA, as_json, new_name, ok

LIMIT = 1 << 20


def run_limited(limit, *arguments, stdout=subprocess.PIPE):
    return subprocess.run(
        [STRATA, *map(str, arguments)],
        stdout=stdout, stderr=subprocess.PIPE, timeout=100, check=False, preexec_fn=limit)


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def forbid_processes():
    """As `ulimit -u 0`, which does not bind root: clone and clone3 fail with EAGAIN."""
    clone, clone3 = {"x86_64": (56, 435), "aarch64": (220, 435)}[os.uname().machine]
    steps = [
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 1, 0, clone),
        (0x15, 0, 1, clone3),
        (0x06, 0, 0, 0x00050000 | 11),  # fail with EAGAIN
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(set_filter, filter_mode, ctypes.create_string_buffer(filter_)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "run.pool"
    ok("pool", "create", path, "--size", "32M")
    (tmp_path / "content").write_bytes(bytes(range(256)) * 32 * 1024)
    ok("pool", "import", path, "model", tmp_path / "content")
    return path


@pytest.fixture
def segment():
    uri = f"shm:{new_name()}"
    ok("create", uri, "--size", "1M", "--max-size", "64M")
    yield uri
    ok("rm", uri)


def refuses_to_grow(*arguments, **options):
    run = run_limited(limit_files, *arguments, **options)
    assert run.returncode == 1, (run.returncode, run.stderr)
    assert b"exhausted" in run.stderr and b"(ulimit -f) is 1 MiB" in run.stderr, run.stderr


def test_what_makes_a_file_too_long_names_the_limit(pool, segment, tmp_path):
    ok("pool", "backup", pool, tmp_path / "backup")
    before = sorted(os.listdir(tmp_path))
    shm = f"shm:{new_name()}"
    refuses_to_grow("create", shm, "--size", "4M")
    refuses_to_grow("put", tmp_path / "content", shm)
    refuses_to_grow("grow", segment, "32M")
    refuses_to_grow("pool", "create", tmp_path / "new.pool", "--size", "8M")
    refuses_to_grow("pool", "export", pool, "model", tmp_path / "out")
    refuses_to_grow("pool", "backup", pool, tmp_path / "backup2")
    refuses_to_grow("pool", "restore", tmp_path / "restored", tmp_path / "backup")
    refuses_to_grow("pool", "snapshot", pool, tmp_path / "snapshot")
    refuses_to_grow("pool", "grow", pool, "--size", "64M")
    assert sorted(os.listdir(tmp_path)) == before


def test_what_lies_beyond_the_limit_in_a_pool_is_not_imported(pool, tmp_path):
    refuses_to_grow("pool", "import", pool, "other", tmp_path / "content")
    names = [segment["name"] for segment in as_json("pool", "ls", pool)["segments"]
             if segment["state"] == "current"]
    assert names == ["model"]


def test_standard_output_that_becomes_too_long_is_an_error(pool, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        refuses_to_grow("cat", f"pmem:{pool}#model", stdout=out)


def test_a_picture_that_becomes_too_long_is_an_error(segment, tmp_path):
    def limit_to_nothing():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))

    run = run_limited(limit_to_nothing, "map", segment, "--svg", tmp_path / "map.svg")
    assert run.returncode == 1 and b"(ulimit -f) is 16 B" in run.stderr, run.stderr


def test_without_more_threads_the_work_is_done_by_one(pool, tmp_path):
    shm = f"shm:{new_name()}"
    content = (tmp_path / "content").read_bytes()
    try:
        run = run_limited(forbid_processes, "put", tmp_path / "content", shm)
        assert run.returncode == DONE, run.stderr
        run = run_limited(forbid_processes, "cat", shm)
        assert run.stdout == content
    finally:
        ok("rm", shm)
    run = run_limited(forbid_processes, "pool", "export", pool, "model", tmp_path / "out")
    assert run.returncode == DONE, run.stderr
    assert (tmp_path / "out").read_bytes() == content


def test_without_more_processes_a_pool_is_not_changed_and_not_called_sound(pool, tmp_path):
    before = pool.read_bytes()
    run = run_limited(forbid_processes, "pool", "import", pool, "other", tmp_path / "content")
    assert run.returncode == 1 and b"ulimit -u" in run.stderr, run.stderr
    run = run_limited(forbid_processes, "pool", "check", pool)
    assert run.returncode > 0, run.stdout
    assert pool.read_bytes() == before
