"""The `strata` command as a shell sees it: results, JSON, and exit codes."""

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile

import pytest

from tests.e2e.command import (
    DONE,
    FAILED,
    NOT_FOUND,
    REFUSED,
    STRATA,
    USAGE,
    Holder,
    as_json,
    new_name,
    ok,
    refusal,
    strata,
    wait_until,
)

COMMANDS = [
    "create", "put", "cat", "grow", "seal", "verify", "migrate", "ls", "info", "map", "objects",
    "heap", "locks", "top", "check", "rm", "gc", "doctor", "topology", "plan",
]  # fmt: skip


@pytest.fixture
def uri():
    name = "shm:" + new_name()
    yield name
    strata("rm", "--force", name)


@pytest.fixture
def segment(uri):
    ok("create", uri, "--size", "1M", "--max-size", "4M")
    return uri


def shm_path(uri):
    return "/dev/shm/strata." + uri.removeprefix("shm:")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command):
    text = ok(command, "--help").decode()
    assert "--json" in text and "Examples:" in text and f"strata {command}" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_a_usage_error_in_text_and_in_json(command):
    assert strata(command, "--no-such-flag").returncode == USAGE
    assert refusal(USAGE, command, "--no-such-flag")["code"] == "invalid_argument"


def test_help_lists_every_command_and_the_exit_codes():
    text = ok("--help").decode()
    assert all(f"\n  {command} " in text for command in COMMANDS)
    for status in ("0  done", "1  failed", "2  usage", "3  not found", "4  refused", "5  unknown"):
        assert f"\n  {status}" in text


def test_no_command_and_an_unknown_one_are_usage_errors():
    assert strata().returncode == USAGE
    assert strata("frobnicate").returncode == USAGE


@pytest.mark.parametrize(
    "command",
    [["cat"], ["info"], ["map"], ["seal"], ["verify"], ["rm"], ["grow", "1M"], ["migrate"]],
)
def test_what_is_not_there_is_not_found(command):
    arguments = [command[0], "shm:" + new_name(), *command[1:]]
    assert refusal(NOT_FOUND, *arguments)["code"] == "not_found"


# Making


def test_create_reports_what_was_made(uri):
    made = as_json("create", uri, "--size", "3M", "--max-size", "8M", "--mode", "0640")
    assert made["uri"] == uri
    assert (made["payload_bytes"], made["max_bytes"]) == (3 << 20, 8 << 20)
    assert (made["state"], made["mode"], made["lifetime"]) == ("ready", "0640", "until-removed")
    assert made["committed_bytes"] >= 3 << 20


def test_an_array_is_told_by_its_name_wherever_it_is_copied(uri, tmp_path):
    array = {"type": "array", "dtype": "<f8", "shape": [100, 3]}
    assert as_json("create", uri, "--dtype", "float64", "--shape", "100x3")["content"] == array
    told = as_json("info", uri)
    assert (told["payload_bytes"], told["content"]) == (2400, array)
    assert [s["content"] for s in as_json("ls", uri)["segments"]] == [array]
    assert "array of <f8, 100x3" in ok("info", uri).decode()
    assert "<f8 100x3" in ok("ls", uri).decode()
    assert "payload: array of <f8, 100x3" in as_json("check", uri)["verified"]
    pool = tmp_path / "pool"
    ok("pool", "create", pool, "--size", "16M")
    ok("pool", "checkpoint", pool, "mesh", uri)
    ok("rm", uri)
    assert as_json("info", f"pmem:{pool}#mesh")["content"] == array
    ok("pool", "load", "--create", pool, "mesh", uri)
    assert as_json("info", uri)["content"] == array


def test_an_array_without_a_shape_is_as_long_as_its_size(uri, tmp_path):
    made = as_json("create", uri, "--size", "4K", "--dtype", "i4", "--max-size", "64K")
    assert made["content"] == {"type": "array", "dtype": "<i4", "shape": [1024]}
    ok("grow", uri, "8K")
    assert as_json("info", uri)["content"]["shape"] == [2048]
    ok("rm", uri)
    (tmp_path / "file").write_bytes(bytes(240))
    ok("put", tmp_path / "file", uri, "--dtype", ">i8", "--shape", "10x3")
    assert as_json("info", uri)["content"] == {"type": "array", "dtype": ">i8", "shape": [10, 3]}
    ok("put", "--in-place", tmp_path / "file", uri)
    assert as_json("info", uri)["content"]["shape"] == [10, 3]
    refusal(REFUSED, "put", "--in-place", tmp_path / "file", uri, "--dtype", "i4", "--shape", "60")


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--shape", "3"],
        ["--dtype", "f8"],
        ["--dtype", "f9", "--shape", "3"],
        ["--dtype", "f8", "--shape", "3,4"],
        ["--dtype", "f8", "--shape", "3x"],
        ["--dtype", "f8", "--shape", "-3"],
        ["--dtype", "f8", "--shape", "x".join(["1"] * 17)],
        ["--dtype", "f8", "--shape", "4294967296x4294967296"],
        ["--size", "5", "--dtype", "i4"],
        ["--size", "5", "--dtype", "f8", "--shape", "10"],
    ],
)
def test_what_is_no_array_is_refused(uri, flags):
    assert refusal(USAGE, "create", uri, *flags)["code"] == "invalid_argument"
    assert not os.path.exists(shm_path(uri))


def test_create_without_a_size_names_both_ways_to_tell_it(uri):
    message = refusal(USAGE, "create", uri)["message"]
    assert "--size" in message and "--dtype" in message and "--shape" in message


def test_a_name_is_given_once(segment):
    assert refusal(FAILED, "create", segment, "--size", "1M")["code"] == "already_exists"


def test_of_two_creators_at_once_one_wins(uri):
    racers = [
        subprocess.Popen([STRATA, "create", uri, "--size", "64K"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        for _ in range(6)
    ]  # fmt: skip
    codes = sorted(racer.wait(timeout=60) for racer in racers)
    assert codes == [DONE] + [FAILED] * 5


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "../x", "a/../b", ".hidden", "-x", "x" * 201, "sp ace", "new\nline", "ü"]
)
def test_names_that_are_no_names_are_refused(name):
    before = set(os.listdir("/dev/shm"))
    error = refusal(USAGE, "create", "shm:" + name, "--size", "1M")
    assert error["code"] == "invalid_argument"
    assert not [f for f in set(os.listdir("/dev/shm")) - before if "e2e" not in f and name and name in f]


@pytest.mark.parametrize("size", ["0", "-1", "", "64Q", "1e9", "16E", "99999999999999999999"])
def test_sizes_that_are_no_sizes_are_refused(uri, size):
    assert strata("create", uri, f"--size={size}").returncode == USAGE
    assert not os.path.exists(shm_path(uri))


def test_a_size_over_what_there_is_names_limit_and_remedy(uri):
    error = refusal(FAILED, "create", uri, "--size", "60T")
    assert error["code"] == "exhausted"
    assert "free" in error["message"]
    assert not os.path.exists(shm_path(uri))


@pytest.mark.parametrize(
    "flags",
    [
        ["--node", "0", "--interleave", "0"],
        ["--weighted", "0"],
        ["--weighted", "0=x"],
        ["--tier", "speed"],
        ["--huge", "3M"],
        ["--mode", "9"],
        ["--lifetime", "forever"],
        ["--lifetime", "job"],
        ["--node", "4000"],
    ],
)
def test_flags_that_mean_nothing_are_usage_errors(uri, flags):
    assert strata("create", uri, "--size", "1M", *flags).returncode == USAGE
    assert not os.path.exists(shm_path(uri))


# Filling and reading


@pytest.mark.parametrize("length", [1, 7, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, (9 << 20) + 12345])
def test_put_and_cat_give_back_every_byte(uri, tmp_path, length):
    content = os.urandom(length)
    (tmp_path / "file").write_bytes(content)
    put = as_json("put", tmp_path / "file", uri)
    assert (put["payload_bytes"], put["created"], put["state"]) == (length, True, "ready")
    assert ok("cat", uri) == content


def test_put_and_cat_give_back_64_mib(uri, tmp_path):
    block = os.urandom(1 << 20)
    path = tmp_path / "file"
    with open(path, "wb") as file:
        for number in range(64):
            file.write(struct.pack("<Q", number) + block[8:])
    ok("put", "--seal", path, uri)
    ok("verify", uri)
    with subprocess.Popen([STRATA, "cat", uri], stdout=subprocess.PIPE) as cat:
        assert subprocess.run(["cmp", "-", path], stdin=cat.stdout, check=False).returncode == 0
    assert cat.returncode == DONE


def test_cat_ends_quietly_when_its_reader_does(segment):
    run = subprocess.run(
        f"{STRATA} cat {segment} | head -c 10 | wc -c", shell=True, capture_output=True, check=True
    )
    assert run.stdout.split() == [b"10"] and run.stderr == b""


def test_cat_into_a_full_device_fails(segment):
    with open("/dev/full", "wb") as full:
        run = subprocess.run([STRATA, "cat", segment], stdout=full, capture_output=False,
                             stderr=subprocess.PIPE, check=False)  # fmt: skip
    assert run.returncode == FAILED and b"No space left" in run.stderr


def test_put_refuses_what_it_cannot_hold(uri, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert strata("put", tmp_path / "empty", uri).returncode == USAGE
    assert strata("put", tmp_path, uri).returncode == USAGE
    assert strata("put", tmp_path / "absent", uri).returncode == NOT_FOUND
    assert not os.path.exists(shm_path(uri))


def test_put_stays_with_what_ends_with_it(uri, tmp_path):
    (tmp_path / "file").write_bytes(b"some bytes" * 1000)
    put = subprocess.Popen(
        [STRATA, "put", tmp_path / "file", uri, "--lifetime", "process"], stdout=subprocess.PIPE
    )
    try:
        assert b"put" in put.stdout.readline()
        assert ok("cat", uri) == b"some bytes" * 1000
        put.terminate()
        assert put.wait(100) == DONE
    finally:
        put.kill()
        put.communicate()
    assert not os.path.exists(shm_path(uri))


@pytest.mark.parametrize("how", [(), ("--seal",), ("--in-place", "--seal")])
def test_put_leaves_an_existing_segment_as_it_was_unless_told_otherwise(uri, tmp_path, how):
    ok("create", uri, "--size", "1M", "--max-size", "2M")
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    before = open(shm_path(uri), "rb").read()
    run = strata("put", *how, tmp_path / "file", uri)
    assert run.returncode == (USAGE if "--in-place" in how else REFUSED)
    assert b"--in-place" in run.stderr and uri.encode() in run.stderr
    assert open(shm_path(uri), "rb").read() == before


def traced(*arguments):
    """`strata`, and the system calls that strace was asked to show or to change."""
    flags, command = arguments[: arguments.index("put")], arguments[arguments.index("put") :]
    run = subprocess.run(["strace", "-f", "-qq", *map(str, flags), STRATA, *map(str, command)],
                         capture_output=True, timeout=100, check=False)  # fmt: skip
    if b"ptrace" in run.stderr:
        pytest.skip("needs to be allowed to trace: " + run.stderr.decode())
    return run


def test_put_in_place_says_that_a_failure_may_have_left_a_part(uri, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(8 << 20))
    ok("put", tmp_path / "file", uri)
    broken_read = ["-P", tmp_path / "file", "-e", "inject=pread64:error=EIO"]
    run = traced(*broken_read, "put", "--in-place", tmp_path / "file", uri)
    assert run.returncode == FAILED and b"may hold a part of " in run.stderr


def test_put_in_place_into_a_pool_ends_when_the_bytes_are_durable(tmp_path):
    pool, path = tmp_path / "run.pool", tmp_path / "file"
    uri = f"pmem:{pool}#mesh"
    ok("pool", "create", pool, "--size", "16M")
    path.write_bytes(os.urandom(1 << 20))
    ok("put", path, uri)
    run = traced("-e", "trace=msync,pread64", "put", "--in-place", path, uri)
    assert run.returncode == DONE, run.stderr
    calls = run.stderr.decode().splitlines()
    last_read = max(i for i, call in enumerate(calls) if "pread64(" in call and ", 1048576, 0)" in call)
    synced = [call for call in calls[last_read:] if re.search(r"msync\(0x\w+, (1048576|10\d{5}), MS_SYNC\)", call)]
    assert synced, calls[last_read:]


def test_put_in_place_grows_the_segment_or_refuses(uri, tmp_path):
    ok("create", uri, "--size", "4096", "--max-size", "16K")
    (tmp_path / "fits").write_bytes(os.urandom(10000))
    (tmp_path / "too_large").write_bytes(os.urandom(20000))
    (tmp_path / "too_small").write_bytes(b"x")
    assert as_json("put", "--in-place", tmp_path / "fits", uri)["created"] is False
    content = (tmp_path / "fits").read_bytes()
    assert ok("cat", uri) == content
    for name in ["too_large", "too_small"]:
        error = refusal(REFUSED, "put", "--in-place", tmp_path / name, uri)
        assert error["code"] == "failed_precondition"
    assert ok("cat", uri) == content


def test_a_killed_put_leaves_nothing_that_looks_finished(uri, tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(512 << 20)
    put = subprocess.Popen([STRATA, "put", path, uri], stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(shm_path(uri)) or put.poll() is not None)
    put.kill()
    put.wait()
    if put.returncode == DONE:
        pytest.skip("put was faster than its killer")
    assert strata("cat", uri, "--timeout-ms", 0).returncode in (FAILED, NOT_FOUND)
    ok("gc")
    assert strata("info", uri).returncode == NOT_FOUND


# Growing, sealing


def test_grow_keeps_content_and_names_its_limits(uri, tmp_path):
    content = os.urandom(5000)
    (tmp_path / "file").write_bytes(content)
    ok("put", tmp_path / "file", uri, "--max-size", "1M")
    grown = as_json("grow", uri, "64K")
    assert (grown["before_bytes"], grown["payload_bytes"]) == (5000, 65536)
    assert ok("cat", uri) == content + bytes(65536 - 5000)
    assert "never shrinks" in refusal(REFUSED, "grow", uri, "1K")["message"]
    assert "at most 1" in refusal(REFUSED, "grow", uri, "2M")["message"]


def test_a_sealed_segment_is_final(segment):
    sealed = as_json("seal", segment)
    assert sealed["sealed"] is True and len(sealed["xxh3"]) == 32
    assert as_json("verify", segment)["xxh3"] == sealed["xxh3"]
    assert as_json("info", segment)["state"] == "sealed"
    assert refusal(REFUSED, "grow", segment, "2M")["code"] == "failed_precondition"
    for how in [(), ("--in-place",)]:
        assert strata("put", *how, "/bin/sh", segment).returncode == REFUSED


def test_verify_finds_a_changed_byte(segment):
    ok("seal", segment)
    os.chmod(shm_path(segment), 0o600)
    with open(shm_path(segment), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert refusal(FAILED, "verify", segment)["code"] == "corrupt"


def test_an_unsealed_segment_cannot_be_verified(segment):
    assert refusal(REFUSED, "verify", segment)["code"] == "failed_precondition"


def test_seal_is_refused_while_another_process_may_write(uri):
    holder = Holder(uri)
    message = refusal(REFUSED, "seal", uri)["message"]
    assert str(holder.process.pid) in message
    holder.end()


# Looking


def test_info_tells_who_is_attached(uri):
    holder = Holder(uri)
    info = as_json("info", uri)
    assert [h["pid"] for h in info["holders"]] == [holder.process.pid]
    assert info["creator"] == {"pid": holder.process.pid, "uid": os.getuid(), "alive": True}
    assert f"pid {holder.process.pid}" in ok("info", uri).decode()
    assert holder.end() == DONE
    assert strata("info", uri).returncode == NOT_FOUND


def test_ls_filters_by_pattern(segment):
    name = segment.removeprefix("shm:")
    for pattern in [name, segment, segment[:-1] + "?", f"shm:{name[:-1]}*"]:
        listed = as_json("ls", pattern)["segments"]
        assert segment in [s["uri"] for s in listed], pattern
    assert as_json("ls", "no-such-*")["segments"] == []
    assert segment in ok("ls").decode()


def test_looking_at_a_last_detach_segment_does_not_end_it(uri):
    holder = subprocess.Popen(
        [STRATA, "create", uri, "--size", "64K", "--lifetime", "last-detach"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    assert as_json("info", uri)["attached"] is False
    assert as_json("info", uri)["state"] == "ready"


def test_map_accounts_for_every_page(uri, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(100_001))
    ok("put", tmp_path / "file", uri)
    svg = tmp_path / "map.svg"
    pages = as_json("map", uri, "--svg", svg)
    assert sum(node["bytes"] for node in pages["nodes"]) == 25 * 4096
    assert pages["absent_bytes"] == 0
    counted = sum(sum(cell["on_node"].values()) + cell["absent"] for cell in pages["cells"])
    assert counted == 25
    assert svg.read_text().startswith("<svg") and uri in svg.read_text()


def test_map_of_sparse_memory_shows_what_is_absent(uri):
    ok("create", uri, "--size", "1M", "--sparse")
    assert as_json("map", uri)["absent_bytes"] == 1 << 20


def test_migrate_reports_where_the_pages_are(segment):
    moved = as_json("migrate", segment, "--node", "0")
    assert moved["nodes"] == [{"node": 0, "bytes": 1 << 20}]
    assert strata("migrate", segment, "--node", "4000").returncode == USAGE


def test_migrate_waits_for_whoever_changes_the_segment_and_names_them(segment):
    with open(shm_path(segment), "r+b") as file:
        # The lock that grow, seal and gc take too: segment/lease.h.
        change_byte, write_lock, f_ofd_setlk = (1 << 48) + 3, 1, 37
        lock = struct.pack("hhqqi4x", write_lock, os.SEEK_SET, change_byte, 1, 0)
        fcntl.fcntl(file, f_ofd_setlk, lock)
        error = refusal(FAILED, "migrate", segment, "--node", "0", "--timeout-ms", "50")
        assert error["code"] == "timed_out"
        assert f"pid {os.getpid()}" in error["message"]
    assert as_json("migrate", segment, "--node", "0")["recorded"]


def test_migrate_of_a_sealed_segment_says_that_it_records_nothing(segment):
    ok("seal", segment)
    moved = as_json("migrate", segment, "--node", "0")
    assert not moved["recorded"]
    assert "sealed" in moved["notes"][0]


@pytest.mark.parametrize("at", [0, 8, 20, 48, 64, 152, 1020])
def test_a_flipped_header_is_refused_everywhere_and_shown_by_ls(segment, at):
    with open(shm_path(segment), "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    assert strata("cat", segment).returncode == FAILED
    run = strata("info", segment, "--json")
    assert run.returncode == FAILED and json.loads(run.stdout)["problem"]["code"]
    problems = {s["uri"]: s["problem"] for s in as_json("ls")["segments"]}
    assert problems[segment] is not None
    os.unlink(shm_path(segment))


def test_a_header_that_is_damaged_where_it_says_what_the_payload_is_leaves_the_bytes(uri):
    ok("create", uri, "--dtype", "f8", "--shape", "100x3")
    with open(shm_path(uri), "r+b") as file:
        file.seek(1752)
        file.write(b"\x65")
    assert as_json("info", uri)["content"]["problem"]["code"] == "corrupt"
    assert as_json("ls", uri)["segments"][0]["problem"] is None
    run = strata("check", uri, "--json")
    assert run.returncode == FAILED and "checksum" in json.loads(run.stdout)["findings"][0]["text"]
    assert len(ok("cat", uri)) == 2400


def test_a_truncated_segment_is_refused(segment):
    os.truncate(shm_path(segment), 5000)
    assert strata("cat", segment).returncode == FAILED
    os.unlink(shm_path(segment))


def test_a_file_of_another_program_under_our_name_is_left_alone(uri):
    with open(shm_path(uri), "wb") as file:
        file.write(b"not a segment" * 1000)
    try:
        assert strata("cat", uri).returncode == FAILED
        assert strata("rm", uri).returncode == REFUSED
        assert strata("create", uri, "--size", "1M").returncode == FAILED
        ok("gc")
        with open(shm_path(uri), "rb") as file:
            assert file.read(13) == b"not a segment"
    finally:
        os.unlink(shm_path(uri))


# Cleaning up


def test_rm_is_refused_while_somebody_is_attached_and_names_them(uri):
    holder = Holder(uri)
    error = refusal(REFUSED, "rm", uri)
    assert error["code"] == "failed_precondition" and str(holder.process.pid) in error["message"]
    assert strata("rm", "--force", uri).returncode == DONE
    assert strata("info", uri).returncode == NOT_FOUND
    holder.end()


def test_rm_removes_the_others_when_one_fails(segment):
    run = strata("rm", "shm:" + new_name(), segment)
    assert run.returncode == NOT_FOUND
    assert not os.path.exists(shm_path(segment))


def test_gc_shows_its_evidence_and_reclaims_only_orphans(segment):
    uri = "shm:" + new_name()
    holder = Holder(uri)
    holder.end(signal.SIGKILL)

    def decision(*flags):
        candidates = as_json("gc", *flags)["candidates"]
        return {c["uri"]: c for c in candidates}

    dry = decision("--dry-run")
    assert dry[uri]["orphan"] and not dry[uri]["reclaimed"]
    assert str(holder.process.pid) in dry[uri]["evidence"]
    assert not dry[segment]["orphan"]
    assert os.path.exists(shm_path(uri))
    assert decision()[uri]["reclaimed"]
    assert not os.path.exists(shm_path(uri)) and os.path.exists(shm_path(segment))
    assert uri not in decision()


def test_gc_ends_the_segments_of_an_ended_job(uri):
    job = new_name()
    ok("create", uri, "--size", "64K", "--lifetime", "job", "--job", job)
    ok("gc")
    assert as_json("info", uri)["job"] == job
    ok("gc", "--job", job)
    assert strata("info", uri).returncode == NOT_FOUND


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_another_users_segment_is_refused(segment):
    # Where the command was built another user may not look.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        command = shutil.copy(STRATA, directory)

        def as_nobody(*arguments):
            return subprocess.run([command, *arguments], user=65534, group=65534, extra_groups=[],
                                  cwd="/", capture_output=True, check=False).returncode  # fmt: skip

        assert as_nobody("ls") == DONE
        assert as_nobody("cat", segment) == REFUSED
        assert as_nobody("seal", segment) == REFUSED
        assert as_nobody("rm", segment) == REFUSED
        assert as_nobody("rm", "--force", segment) == REFUSED
        assert as_nobody("gc") == DONE
    assert as_json("info", segment)["problem"] is None


# This machine, and others


def test_doctor_tells_facts_with_remedies():
    groups = as_json("doctor")
    del groups["capabilities"]  # capabilities_test
    assert list(groups) == ["memory", "kernel", "persistence", "gpu"]
    for facts in groups.values():
        for fact in facts:
            assert set(fact) == {"name", "value", "fine", "remedy"}
            assert fact["fine"] or fact["remedy"]
    assert "Kernel" in ok("doctor").decode()


def test_topology_of_this_and_of_a_made_up_machine(tmp_path):
    assert as_json("topology")["this_machine"] is True
    svg = tmp_path / "machine.svg"
    machine = as_json("topology", "--topology", "node:4 core:2 pu:1", "--svg", svg)
    assert [n["node"] for n in machine["nodes"]] == [0, 1, 2, 3]
    assert svg.read_text().count("Node ") == 4
    assert strata("topology", "--topology", "gibberish:").returncode == USAGE


def test_plan_says_which_nodes_and_creates_nothing(uri):
    plan = as_json("plan", uri, "--size", "64M", "--weighted", "0=3,1=1",
                   "--topology", "node:2 core:4 pu:1")  # fmt: skip
    assert plan["expected"] == [{"node": 0, "bytes": 48 << 20}, {"node": 1, "bytes": 16 << 20}]
    assert plan["reasons"]
    assert not os.path.exists(shm_path(uri))
    assert strata("plan", uri, "--size", "1M", "--node", "9", "--topology", "node:2 pu:1").returncode == USAGE


def test_colours_never_reach_a_pipe_and_errors_go_to_stderr(segment):
    assert b"\033" not in ok("ls")
    run = strata("info", "shm:" + new_name())
    assert run.stdout == b"" and b"not_found" in run.stderr and b"\033" not in run.stderr


def test_a_full_standard_output_is_a_failure(segment):
    with open("/dev/full", "wb") as full:
        run = subprocess.run([STRATA, "ls"], stdout=full, stderr=subprocess.DEVNULL, check=False)
    assert run.returncode == FAILED


def test_colours_appear_on_a_terminal_unless_no_color_is_set(segment):
    def on_terminal(**environment):
        try:
            master, slave = os.openpty()
        except OSError as error:
            pytest.skip(f"no pseudo terminal to be had here: {error}")
        subprocess.run([STRATA, "ls"], stdout=slave, check=True,
                       env=dict(os.environ, TERM="xterm", **environment))  # fmt: skip
        os.close(slave)
        output = b""
        try:
            while chunk := os.read(master, 65536):
                output += chunk
        except OSError:
            pass  # the end, as Linux tells it
        os.close(master)
        return output

    assert b"\033[" in on_terminal()
    assert b"\033[" not in on_terminal(NO_COLOR="1")
