"""Who keeps a block of strata.shared_memory, and when it goes: with processes that are killed."""

import contextlib
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import threading
import uuid

import pytest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PACKAGE)

from strata import _blocks
from strata.shared_memory import SharedMemory, sweep

SHM = pathlib.Path("/dev/shm")
HEAD = f"""
import mmap, os, signal, sys
sys.path.insert(0, {PACKAGE!r})
from strata.shared_memory import SharedMemory, sweep
name = sys.argv[1]
def say(text):
    print(text, flush=True)
"""
STANDARD = """
import mmap, os, signal, sys
from multiprocessing import resource_tracker
resource_tracker.register = lambda *_: None  # it would unlink the block in the end
from multiprocessing.shared_memory import SharedMemory
name = sys.argv[1]
def say(text):
    print(text, flush=True)
"""
CREATE = "block = SharedMemory(name, create=True, size=100); block.buf[:3] = b'abc'; say('ready')\n"
ATTACH = "block = SharedMemory(name); say('ready')\n"
WAIT = "sys.stdin.read()\n"


@pytest.fixture
def name():
    name = f"strata-test-{uuid.uuid4().hex[:12]}"
    yield name
    (SHM / name).unlink(missing_ok=True)


@contextlib.contextmanager
def running(program, *arguments, head=HEAD):
    """A process that has said "ready"; its input is closed, and it is waited for, in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", head + program, *arguments],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        said = process.stdout.readline()
        assert said == "ready\n", said + process.stderr.read()
        yield process
    finally:
        out, err = process.communicate()
        assert err == "", err


def kill(process):
    process.kill()
    process.wait()


def is_there(name):
    """After whatever is to go has gone."""
    sweep()
    return (SHM / name).exists()


def note_files(tree):
    """Of one program: others make and remove theirs at any time."""
    assert len(tree) == 16
    return [entry for entry in os.listdir(SHM) if entry.startswith(f"{_blocks.PREFIX}{tree}.")]


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_readers_end_destroys_nothing(name, end):
    block = SharedMemory(name, create=True, size=100)
    with running(ATTACH + WAIT, name) as reader:
        if end == "kill":
            kill(reader)
    assert is_there(name)
    assert SharedMemory(name).size == 100
    block.unlink()


@pytest.mark.parametrize("head", [HEAD, STANDARD], ids=["ours", "standard"])
def test_the_block_of_a_killed_creator_goes_with_the_last_that_has_it(name, head):
    with running(CREATE + WAIT, name) as creator, running(ATTACH + WAIT, name, head=head) as user:
        kill(creator)
        assert is_there(name)
        late = SharedMemory(name)
        assert bytes(late.buf[:3]) == b"abc"
        kill(user)
        assert is_there(name)
        late.close()
    assert not (SHM / name).exists()


def test_a_mapping_without_a_descriptor_keeps_a_block(name):
    with running(CREATE + WAIT, name) as creator:
        fd = os.open(SHM / name, os.O_RDWR)
        # Not Python's mmap, which keeps a descriptor of its own.
        program = (
            "import ctypes\n"
            "fd = os.open('/dev/shm/' + name, os.O_RDWR)\n"
            "libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
            "assert libc.mmap(None, ctypes.c_size_t(100), 3, 1, fd, ctypes.c_long(0)) + 1\n"
            "os.close(fd); say('ready')\n" + WAIT
        )
        with running(program, name) as user:
            os.close(fd)
            kill(creator)
            assert is_there(name)
            kill(user)
    assert not is_there(name)


def test_a_forked_child_keeps_the_block_of_its_killed_parent(name):
    fork = "if os.fork() == 0:\n    say(os.getpid()); signal.pause()\n"
    with running(CREATE + fork + WAIT, name) as creator:
        child = int(creator.stdout.readline())
        kill(creator)
        assert is_there(name)
        os.kill(child, signal.SIGKILL)
        creator.stdout.read()  # until the child is gone, too
    assert not is_there(name)


def test_the_next_creator_takes_the_name_of_one_that_was_killed(name):
    with running(CREATE + WAIT, name) as creator:
        kill(creator)
    block = SharedMemory(name, create=True, size=50)
    assert bytes(block.buf) == bytes(50)
    block.unlink()


def test_what_a_killed_creator_left_is_not_there_for_who_attaches(name):
    with running(CREATE + WAIT, name) as creator:
        kill(creator)
    with pytest.raises(FileNotFoundError, match="its creator was killed"):
        SharedMemory(name)


def test_a_regular_end_without_unlink_leaves_nothing(name):
    say_tree = "from strata import _blocks; say(_blocks.tree())\n"
    for program in (
        CREATE,
        CREATE + "view = block.buf[1:]",
        CREATE + "block.close()",
        CREATE + "again = SharedMemory(name)",
    ):
        with running(program.replace("\n", "\n" + say_tree), name) as process:
            tree = process.stdout.readline().strip()
        if "again" not in program:  # of which only the next to look can tell that nobody has it
            assert not (SHM / name).exists()
        assert not is_there(name)
        assert note_files(tree) == []


def test_untracked_blocks_stay_until_they_are_unlinked(name):
    with running(
        "block = SharedMemory(name, create=True, size=9, track=False); say('ready')", name
    ):
        pass
    assert is_there(name)
    SharedMemory(name, track=False).unlink()
    assert not (SHM / name).exists()


def test_blocks_of_the_standard_module_are_never_swept(name):
    with running(
        "block = SharedMemory(name, create=True, size=9); say('ready')", name, head=STANDARD
    ):
        pass
    assert is_there(name)
    SharedMemory(name).close()
    assert is_there(name)


def test_a_block_that_took_a_name_over_is_never_swept(name):
    with running(CREATE + WAIT, name) as creator:
        os.unlink(SHM / name)
        (SHM / name).write_bytes(b"somebody else's")
        kill(creator)
    assert is_there(name)


METHODS = ["fork", "spawn", "forkserver"]
POOL = """
from multiprocessing import get_context
def make(number):
    block = SharedMemory(f"{name}-{number}", create=True, size=100)
    block.buf[0] = number
    block.close()
    return block.name
if __name__ == "__main__":
    with get_context(sys.argv[2]).Pool(2) as pool:
        names = pool.map(make, range(6))
    # The workers are gone, by SIGTERM. Nobody has had the blocks since they were closed.
    sweep()
    for number, made in enumerate(names):
        block = SharedMemory(made)
        assert block.buf[0] == number
        block.close()
        if number % 2:
            block.unlink()
    say("ready")
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_a_worker_closed_stays_until_the_program_ends(name, method, tmp_path):
    # A file, since spawn and forkserver import it.
    program = tmp_path / "program.py"
    program.write_text(HEAD + POOL)
    done = subprocess.run([sys.executable, program, name, method], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ready\n", "")
    sweep()
    assert [entry for entry in os.listdir(SHM) if entry.startswith(name)] == []


@pytest.mark.parametrize("method", METHODS)
def test_random_kills_lose_nothing_that_is_attached_and_leave_nothing(name, method):
    seed = random.randrange(2**32)
    print("seed", seed)
    program = os.path.join(PACKAGE, "tests", "shared_memory_kills.py")
    done = subprocess.run(
        [sys.executable, program, method, str(seed), "6", name], capture_output=True, text=True
    )
    print(done.stdout)
    assert done.stdout.startswith("verified: "), done.stderr
    assert done.stderr == ""
    assert done.returncode in (0, -signal.SIGKILL)
    sweep()
    assert [entry for entry in os.listdir(SHM) if entry.startswith(name)] == []
    assert note_files(done.stdout.split()[-1]) == []


# --- the note files -------------------------------------------------------------------------------


def test_a_note_file_has_the_bytes_of_its_format_page(name):
    program = (
        CREATE
        + "from strata import _blocks; say(_blocks.tree())\n"
        + WAIT
        + "block.close(); say('closed'); signal.pause()"
    )
    with running(program, name) as creator:
        (notes,) = note_files(creator.stdout.readline().strip())
        facts = (SHM / name).stat()
        expected = struct.pack("<QQQ256s", 1, facts.st_dev, facts.st_ino, name.encode())
        assert len(expected) == 280
        assert (SHM / notes).read_bytes() == expected
        assert (SHM / notes).stat().st_mode & 0o777 == 0o600
        creator.stdin.close()
        assert creator.stdout.readline() == "closed\n"
        assert (SHM / notes).read_bytes() == struct.pack("<Q", 2) + expected[8:]
        prefix, tree, rest = notes.split(".")
        assert prefix == "strata-blocks" and (len(tree), len(rest)) == (16, 16)
        creator.stdin = None
        kill(creator)


@pytest.fixture
def dead_notes():
    """A note file as a dead process leaves it: dead_notes(bytes, prepare) makes it at once, after
    prepare(path) has made all else. From then on any process may sweep it."""
    made = []

    def make(content, prepare=lambda path: None):
        path = SHM / f"{_blocks.PREFIX}{uuid.uuid4().hex[:16]}.{uuid.uuid4().hex[:16]}"
        made.append(path)
        hidden = SHM / f"strata-test-{path.name}"
        hidden.write_bytes(content)
        prepare(path)
        hidden.rename(path)
        return path

    yield make
    for path in made:
        path.unlink(missing_ok=True)


def record(state, facts, name):
    return struct.pack("<QQQ256s", state, facts.st_dev, facts.st_ino, os.fsencode(name))


def aside_of(notes):
    return notes.with_name(notes.name + ".0")


def test_a_sweeper_that_was_killed_between_its_steps_is_finished(name, dead_notes):
    (SHM / name).write_bytes(b"x")
    notes = dead_notes(
        record(1, (SHM / name).stat(), name), lambda notes: (SHM / name).rename(aside_of(notes))
    )
    sweep()
    assert not aside_of(notes).exists() and not notes.exists()


def test_a_block_that_was_moved_aside_by_mistake_comes_back(name, dead_notes):
    notes = dead_notes(
        record(1, os.stat("/etc/passwd"), name),
        lambda notes: aside_of(notes).write_bytes(b"another's"),
    )
    sweep()
    assert (SHM / name).read_bytes() == b"another's"
    assert not aside_of(notes).exists() and not notes.exists()


def test_a_block_that_comes_back_twice_has_one_name_in_the_end(name, dead_notes):
    (SHM / name).write_bytes(b"another's")
    # Killed between giving the name back and the end.
    notes = dead_notes(
        record(1, os.stat("/etc/passwd"), name),
        lambda notes: aside_of(notes).hardlink_to(SHM / name),
    )
    sweep()
    assert (SHM / name).stat().st_nlink == 1
    assert not aside_of(notes).exists() and not notes.exists()


@pytest.mark.parametrize(
    "record_name",
    [b"../../tmp/x", b"/etc/passwd", b"..", b"", b"\xff" * 256],
    ids=lambda name: repr(name[:9]),
)
def test_records_that_lead_out_of_the_folder_are_ignored(record_name, dead_notes):
    notes = dead_notes(record(1, os.stat("/etc/passwd"), record_name))
    sweep()
    assert os.path.exists("/etc/passwd")
    assert not notes.exists()


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_two_that_sweep_are_not_in_each_others_way(name, dead_notes, stopped):
    (SHM / name).write_bytes(b"x")
    other = None

    def sweep_first(notes):
        nonlocal other
        other = os.open(notes.with_name("strata-test-" + notes.name), os.O_RDWR)
        assert _blocks._become_sweeper(other, deadline=0)

    notes = dead_notes(record(1, (SHM / name).stat(), name), sweep_first)
    if stopped:
        sweep()  # it gives up after a while
        assert (SHM / name).exists()
    threading.Timer(0.05, os.close, [other]).start()
    assert not is_there(name)
    assert not notes.exists()


def test_garbage_in_place_of_note_files_harms_nothing(name, dead_notes):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    block = SharedMemory(name, create=True, size=10)
    for length in [0, 1, 279, 280, 281, 5_000]:
        dead_notes(rng.randbytes(length))
    fifo = SHM / f"{_blocks.PREFIX}{'0' * 16}.{uuid.uuid4().hex[:16]}"
    os.mkfifo(fifo)
    try:
        sweep()
    finally:
        fifo.unlink()
    assert SharedMemory(name).size == 10
    block.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_blocks_and_notes_of_other_users_are_left_alone(name, dead_notes):
    (SHM / name).write_bytes(b"x")
    os.chown(SHM / name, 12345, 12345)
    notes = dead_notes(
        record(1, (SHM / name).stat(), name),
        lambda notes: os.chown(notes.with_name("strata-test-" + notes.name), 12345, 12345),
    )
    assert is_there(name)
    assert notes.exists()


def test_descriptors_and_records_do_not_grow_where_others_unlink(name):
    program = (
        "from strata import _blocks\n"
        "for number in range(3):\n"
        "    for index in range(50):\n"
        "        block = SharedMemory(f'{name}.{index}', create=True, size=10)\n"
        "        block.close()\n"
        "        os.unlink(f'/dev/shm/{name}.{index}')\n"
        "    _blocks._next_sweep = 0\n"
        "    SharedMemory(create=True, size=1).unlink()\n"
        "assert len(_blocks.join().records) == 0, _blocks.join().records\n"
        "assert os.fstat(_blocks.join().fd).st_size <= 60 * 280\n"
        "say('ready')"
    )
    with running(program, name):
        pass
