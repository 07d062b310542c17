"""The command on device segments, over the fake driver: nothing here is about hardware."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from tests.e2e.command import DONE, FAILED, NOT_FOUND, REFUSED, STRATA, USAGE, new_name, wait_until

FAKE = os.path.abspath(os.environ.get("FAKE_CUDA", "tests/fake_cuda/libcuda.so.1"))
TWO_GPUS = "numa/testdata/two_nodes_gpus.xml"
CONTENT = os.urandom(3_000_001)


class Machine:
    """A machine with two devices that are no devices, and the command on it."""

    def __init__(self, driver=FAKE):
        self.directory = tempfile.mkdtemp(prefix="strata-e2e-gpu-", dir="/dev/shm")
        self.environment = dict(
            os.environ,
            STRATA_FAKE_CUDA_DIR=self.directory,
            STRATA_FAKE_CUDA_DEVICES="2",
            STRATA_FAKE_CUDA_BYTES=str(256 << 20),
            # A holder keeps /dev/nvidiaN open, and this machine's are elsewhere: gpu/holder_test.cc
            # is about that. Here memory stays without.
            STRATA_FAKE_CUDA_PERSISTENCE="1",
        )
        self.environment.pop("CUDA_VISIBLE_DEVICES", None)
        if driver is not None:
            self.environment["LD_LIBRARY_PATH"] = os.path.dirname(driver)

    def strata(self, *arguments, stdin=None, **environment):
        return subprocess.run(
            [STRATA, *map(str, arguments)],
            input=stdin,
            env=dict(self.environment, **environment),
            capture_output=True,
            timeout=250,
            check=False,
        )

    def ok(self, *arguments, **more):
        run = self.strata(*arguments, **more)
        assert run.returncode == DONE, run.stderr.decode()
        return run.stdout

    def as_json(self, *arguments, **more):
        return json.loads(self.ok(*arguments, "--json", **more))

    def refusal(self, code, *arguments, **more):
        run = self.strata(*arguments, "--json", **more)
        assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
        return json.loads(run.stderr)["error"]

    @contextlib.contextmanager
    def staying(self, *arguments):
        """A command that stays, once its first line is there."""
        process = subprocess.Popen(
            [STRATA, *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert process.stdout.readline()
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.communicate()

    def holders(self, uri):
        return [each for each in self.as_json("gpu", "info", uri)["consumers"]
                if each["role"] == "holder"]  # fmt: skip


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def machine():
    one = Machine()
    yield one
    shutil.rmtree(one.directory, ignore_errors=True)


@pytest.fixture
def uri(machine):
    name = "cuda:" + new_name()
    yield name
    machine.strata("rm", "--force", name)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "content").write_bytes(CONTENT)
    return tmp_path / "content"


def test_put_and_cat_give_back_every_byte(machine, uri, file):
    assert b"no rate" in machine.ok("put", file, uri)
    assert machine.ok("cat", uri) == CONTENT
    assert machine.as_json("info", uri)["lifetime"] == "until-removed"


def test_put_from_a_pipe_gives_back_every_byte(machine, uri):
    run = machine.strata("put", "-", uri, "--seal", stdin=CONTENT)
    assert run.returncode == DONE, run.stderr
    machine.ok("verify", uri)
    assert machine.ok("cat", uri) == CONTENT


def test_what_is_sealed_can_be_verified_and_not_overwritten(machine, uri, file):
    machine.ok("put", file, uri)
    machine.ok("seal", uri)
    machine.ok("verify", uri)
    info = machine.as_json("info", uri)
    assert info["state"] == "sealed" and info["seal"]["bytes"] == len(CONTENT)
    assert machine.refusal(REFUSED, "put", "--in-place", file, uri)["code"] == "failed_precondition"


def test_what_is_created_outlives_the_command_and_rm_ends_its_holder(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    (holder,) = machine.holders(uri)
    assert machine.as_json("info", uri)["device"]["held"]
    assert machine.ok("cat", uri) == bytes(2 << 20)
    machine.ok("rm", uri)
    wait_until(lambda: not is_running(holder["pid"]), 100)
    assert machine.refusal(NOT_FOUND, "info", uri)["code"] == "not_found"


def test_without_its_holder_an_orphan_is_proven_and_reclaimed(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    (holder,) = machine.holders(uri)
    os.kill(holder["pid"], signal.SIGKILL)
    wait_until(lambda: not is_running(holder["pid"]), 100)
    assert machine.strata("cat", uri).returncode != DONE

    def mine():
        run = machine.strata("gc", "--dry-run", "--json")
        return [c for c in json.loads(run.stdout)["candidates"] if c["uri"] == uri]

    (candidate,) = mine()
    assert candidate["orphan"] and candidate["evidence"]


def test_with_last_detach_the_command_stays_and_takes_it_along(machine, uri):
    with machine.staying("create", uri, "--size", "2M", "--lifetime", "last-detach") as process:
        assert machine.ok("cat", uri) == bytes(2 << 20)
        assert not machine.as_json("info", uri)["device"]["held"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == DONE
    assert machine.strata("info", uri).returncode == NOT_FOUND


def test_put_with_last_detach_stays_too(machine, uri, file):
    with machine.staying("put", file, uri, "--lifetime", "last-detach") as process:
        assert machine.ok("cat", uri) == CONTENT
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == DONE
    assert machine.strata("info", uri).returncode == NOT_FOUND


def test_a_holder_of_ones_own_keeps_what_others_let_go(machine, uri):
    with machine.staying("create", uri, "--size", "2M", "--lifetime", "last-detach") as creator:
        with machine.staying("gpu", "hold", uri) as holder:
            creator.kill()
            creator.wait()
            assert machine.ok("cat", uri) == bytes(2 << 20)
            machine.ok("rm", uri)
            assert holder.wait(100) == DONE


def test_a_device_is_chosen_by_number_or_uuid_and_each_is_listed(machine, uri):
    gpus = machine.as_json("gpu", "ls")["gpus"]
    fakes = [gpu for gpu in gpus if gpu["fake"]]
    assert [gpu["number"] for gpu in fakes] == [0, 1] and all("FAKE" in g["name"] for g in fakes)
    machine.ok("create", uri, "--size", "2M", "--device", fakes[1]["uuid"])
    listing = machine.as_json("gpu", "ls")
    assert [gpu["segment_bytes"] > 0 for gpu in listing["gpus"] if gpu["fake"]] == [False, True]
    (segment,) = [each for each in listing["segments"] if each["uri"] == uri]
    assert segment["device"]["uuid"] == fakes[1]["uuid"] and segment["consumers"]
    assert machine.refusal(FAILED, "create", uri + "x", "--size", "2M", "--device", "2")[
        "code"] == "no_device"  # fmt: skip


def test_a_device_that_a_process_does_not_see_is_the_wrong_one(machine, uri):
    machine.ok("create", uri, "--size", "2M", "--device", "1")
    error = machine.refusal(FAILED, "cat", uri, CUDA_VISIBLE_DEVICES="0")
    assert error["code"] == "wrong_device"


def test_explain_says_which_way_and_why_not_the_others(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    ways = {w["mechanism"]: w for w in machine.as_json("gpu", "explain", uri)["mechanisms"]}
    assert ways["vmm-fd"]["chosen"] and not ways["ipc"]["chosen"]
    assert not ways["fabric"]["possible"] and all(way["why"] for way in ways.values())
    assert machine.refusal(USAGE, "gpu", "explain", "shm:x")["code"] == "invalid_argument"


def test_what_device_memory_cannot_is_refused_with_the_reason(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    for command in (["grow", uri, "4M"], ["migrate", uri, "--node", "0"], ["map", uri],
                    ["heap", uri], ["locks", uri], ["objects", uri],
                    ["create", uri + "x", "--size", "2M", "--node", "0"],
                    ["create", uri + "x", "--size", "2M", "--mode", "0640"],
                    ["create", uri + "x", "--size", "2M", "--mechanism", "fabric"]):  # fmt: skip
        assert machine.refusal(FAILED, *command)["code"] == "unsupported", command
    assert machine.ok("check", uri)


def test_tables_show_bytes_on_devices(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    for command in (["ls"], ["top", "--rounds", "1", "--interval", "0.01"]):
        text = machine.ok(*command).decode()
        assert "ON DEVICE" in text and uri in text
    (row,) = [s for s in machine.as_json("top", "--interval", "0.01")["segments"] if s["uri"] == uri]
    assert row["users"] == 1 and row["device"]["allocation_bytes"] >= 2 << 20


def test_a_checkpoint_in_a_pool_gives_back_every_byte(machine, uri, file, tmp_path):
    pool = tmp_path / "run.pool"
    machine.ok("pool", "create", pool, "--size", "16M")
    machine.ok("put", file, uri)
    machine.ok("pool", "checkpoint", pool, "weights", uri)
    machine.ok("rm", uri)
    machine.ok("pool", "load", "--create", pool, "weights", uri)
    assert machine.ok("cat", uri) == CONTENT


def test_doctor_says_what_the_driver_can_and_that_it_is_a_fake(machine):
    facts = {fact["name"]: fact for fact in machine.as_json("doctor")["gpu"]}
    assert facts["GPU 0, vmm-fd"]["value"] == "works"
    assert "FAKE" in facts["GPU 0"]["remedy"] and not facts["GPU 0"]["fine"]
    without = machine.as_json("doctor", STRATA_FAKE_CUDA_WITHOUT="cuStreamWaitValue64_v2,"
                              "cuStreamWaitValue64")["gpu"]  # fmt: skip
    (waits,) = [fact for fact in without if fact["name"] == "GPU 0, streams that wait"]
    assert "cuStreamWaitValue64" in waits["value"] and waits["remedy"]


def test_version_tells_the_drivers_and_does_not_start_it(machine):
    version = machine.as_json("version", STRATA_FAKE_CUDA_VERSION="12080",
                              STRATA_FAKE_CUDA_FAIL="cuInit:1:802")  # fmt: skip
    assert version["cuda_driver"] == "12.8"
    assert b"CUDA driver          12.8" in machine.ok("version", STRATA_FAKE_CUDA_VERSION="12080")


def test_bench_without_a_driver_says_so_once():
    bare = Machine(driver=None)
    try:
        if bare.as_json("version")["cuda_driver"]:
            pytest.skip("this machine has a CUDA driver")
        assert bare.refusal(FAILED, "gpu", "bench")["code"] == "no_driver"
        assert bare.strata("gpu", "bench").stderr.count(b"\n") == 1
    finally:
        shutil.rmtree(bare.directory)


def test_bench_counts_calls_and_shows_no_rates_of_a_fake(machine):
    bench = machine.as_json("gpu", "bench", "--size", "2M", "--rounds", "5")
    assert bench["fake"] and all(each["bytes_per_s"] is None for each in bench["operations"])
    assert {each["operation"] for each in bench["operations"]} >= {"attach", "detach"}
    assert all(each["most_driver_calls"] > 0 for each in bench["operations"])
    assert b"/s" not in machine.ok("gpu", "bench", "--size", "2M", "--rounds", "2")


def test_without_a_driver_everything_explains_itself_and_cleans_up(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    bare = Machine(driver=None)
    try:
        bare.environment.pop("LD_LIBRARY_PATH", None)
        if bare.as_json("gpu", "ls")["driver"] is not None:
            pytest.skip("this machine has a CUDA driver of its own")
        listing = bare.as_json("gpu", "ls")
        assert listing["driver_problem"]["code"] in ("no_driver", "no_device")
        assert uri in [segment["uri"] for segment in listing["segments"]]
        assert bare.as_json("info", uri)["device"]["mechanism"] == "vmm-fd"
        assert bare.as_json("gpu", "info", uri)["consumers"]
        assert bare.as_json("gpu", "explain", uri)["mechanisms"]
        assert uri in bare.ok("ls").decode()
        assert bare.refusal(FAILED, "cat", uri)["code"] == "no_driver"
        assert bare.refusal(FAILED, "create", uri + "x", "--size", "2M")["code"] == "no_driver"
        assert bare.refusal(FAILED, "grow", uri, "4M")["code"] == "unsupported"
        names = [fact["name"] for fact in bare.as_json("doctor")["gpu"]]
        assert "CUDA driver library" in names
        bare.ok("gc", "--dry-run")
        bare.ok("rm", uri)
    finally:
        shutil.rmtree(bare.directory, ignore_errors=True)


def test_host_memory_is_placed_near_a_gpu_without_any_driver(machine, tmp_path):
    bare = Machine(driver=None)
    shutil.rmtree(bare.directory)
    plan = bare.as_json("plan", "shm:x", "--size", "1M", "--near", "gpu:1", "--topology", TWO_GPUS)
    assert [share["node"] for share in plan["expected"]] == [1]
    error = bare.refusal(NOT_FOUND, "plan", "shm:x", "--size", "1M", "--near", "gpu:2",
                         "--topology", TWO_GPUS)  # fmt: skip
    assert "gpu:0 (0000:3b:00.0), gpu:1 (0000:b7:00.0)" in error["message"]
    topology = bare.as_json("topology", "--topology", TWO_GPUS, "--svg", tmp_path / "machine.svg")
    assert [(gpu["name"], gpu["node"]) for gpu in topology["gpus"]] == [("gpu:0", 0), ("gpu:1", 1)]
    assert (tmp_path / "machine.svg").read_text().count(">gpu:") == 2


def test_the_command_links_no_cuda_library():
    for tool in (["ldd", STRATA], ["nm", "-D", STRATA]):
        text = subprocess.run(tool, capture_output=True, text=True, check=False).stdout
        assert "libcuda" not in text and "libcudart" not in text
        assert not [line for line in text.splitlines() if line.split()[-1].startswith("cuMem")]


def test_names_that_others_chose_reach_no_terminal_as_they_are(machine, uri):
    machine.ok("create", uri, "--size", "2M")
    hostile = b"/dev/shm/strata-cuda." + new_name().encode() + b"\x1b[2J\x07\nforged"
    with open(hostile, "wb") as junk:
        junk.write(b"x" * 9000)
    try:
        for command in (["gpu", "ls"], ["ls"], ["gc", "--dry-run"]):
            for more in ([], ["--json"]):
                run = machine.strata(*command, *more)
                text = run.stdout + run.stderr
                assert b"\x1b" not in text and b"\x07" not in text and b"\nforged" not in text
    finally:
        os.unlink(hostile)
