"""strata.shared_memory beside multiprocessing.shared_memory: the same names, bytes and errors."""

import ctypes
import gc
import mmap
import os
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import uuid
from multiprocessing import resource_tracker
from multiprocessing import shared_memory as standard

import pytest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PACKAGE)

from strata import shared_memory
from strata.shared_memory import ShareableList, SharedMemory

SHM = pathlib.Path("/dev/shm")
# What the programs of the tests begin with.
OURS = f"import sys; sys.path.insert(0, {PACKAGE!r}); from strata import shared_memory\n"
STANDARD = "from multiprocessing import shared_memory, resource_tracker\n"
# The tracker of a standard process unlinks what it attached, unless it is told not to.
UNTRACKED = "resource_tracker.unregister(block._name, 'shared_memory')\n"


def python(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, text=True, capture_output=True
    )


@pytest.fixture
def name():
    name = f"strata-test-{uuid.uuid4().hex[:12]}"
    yield name
    (SHM / name).unlink(missing_ok=True)


@pytest.fixture
def standard_untracked(monkeypatch):
    """The standard classes, without a resource tracker that remembers the blocks of this test."""
    monkeypatch.setattr(resource_tracker, "register", lambda *_: None)
    monkeypatch.setattr(resource_tracker, "unregister", lambda *_: None)
    return standard


def test_a_block_is_a_plain_file_of_the_size_asked_for(name):
    block = SharedMemory(name, create=True, size=1001)
    block.buf[:3] = b"abc"
    assert (SHM / name).read_bytes() == b"abc" + bytes(998)
    assert (SHM / name).stat().st_mode & 0o777 == 0o600
    assert (block.name, block.size, len(block.buf)) == (name, 1001, 1001)
    block.close()
    block.unlink()
    assert not (SHM / name).exists()


def test_a_standard_process_attaches_our_block_and_we_see_what_it_writes():
    block = SharedMemory(create=True, size=100)
    program = STANDARD + "import sys; block = shared_memory.SharedMemory(sys.argv[1])\n" + UNTRACKED
    python(
        program + "assert block.size == 100; block.buf[:5] = b'howdy'; block.close()", block.name
    )
    assert bytes(block.buf[:5]) == b"howdy"
    block.close()
    block.unlink()


def test_we_attach_a_block_of_a_standard_process_and_it_sees_what_we_write(
    name, standard_untracked
):
    theirs = standard_untracked.SharedMemory(name, create=True, size=100)
    python(OURS + "block = shared_memory.SharedMemory(sys.argv[1]); block.buf[:5] = b'howdy'", name)
    assert bytes(theirs.buf[:5]) == b"howdy"
    theirs.close()
    assert (SHM / name).exists()
    theirs.unlink()


def test_no_resource_tracker_is_started():
    program = (
        OURS + "from multiprocessing import resource_tracker\n"
        "block = shared_memory.SharedMemory(create=True, size=9); block.unlink()\n"
        "assert resource_tracker._resource_tracker._fd is None"
    )
    assert python(program).stderr == ""


def outcome(make):
    """The type of what is raised and its errno; None if nothing is."""
    try:
        made = make()
    except Exception as error:
        return type(error), getattr(error, "errno", None)
    made.close()
    made.unlink()
    return None


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    "bad", ["", "/", "../x", "a/b", "/a/b", "x" * 256, 5, b"x", "\udcff\ud800"], ids=repr
)
def test_what_cannot_be_a_name_gets_the_error_of_the_standard_module(
    bad, create, standard_untracked
):
    expected = outcome(lambda: standard_untracked.SharedMemory(bad, create=create, size=10))
    assert expected is not None
    assert outcome(lambda: SharedMemory(bad, create=create, size=10)) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"create": True},
        {"create": True, "size": 0},
        {"create": True, "size": -1},
        {"name": "x", "size": -1},
        {"create": True, "size": 1 << 62},
        {"create": True, "size": 1 << 70},
        {"create": True, "size": 1.5},
        {"create": True, "size": "a"},
        {"name": "strata-test-missing"},
    ],
    ids=repr,
)
def test_bad_arguments_get_the_error_of_the_standard_module(arguments, name, standard_untracked):
    if arguments.get("create"):
        arguments = {"name": name, **arguments}  # the standard module leaves some of them behind
    expected = outcome(lambda: standard_untracked.SharedMemory(**arguments))
    assert expected is not None
    (SHM / name).unlink(missing_ok=True)
    assert outcome(lambda: SharedMemory(**arguments)) == expected


@pytest.mark.parametrize("hostile", ["..", ".", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(hostile):
    for create in (False, True):
        with pytest.raises(OSError, match="Invalid argument"):
            SharedMemory(hostile, create=create, size=10)


def test_errors_say_which_block_and_what_to_do(name):
    with pytest.raises(FileNotFoundError, match=f"no such block.*{name}"):
        SharedMemory(name)
    block = SharedMemory(name, create=True, size=10)
    with pytest.raises(FileExistsError, match=f"attach to it with create=False.*{name}"):
        SharedMemory(name, create=True, size=10)
    block.unlink()
    with pytest.raises(FileNotFoundError, match=f"unlinked already.*{name}"):
        block.unlink()


def test_what_is_no_block_is_refused_and_left_alone(name):
    path = SHM / name
    for make, error in [
        (path.touch, ValueError),
        (lambda: os.mkfifo(path), OSError),
        (lambda: path.symlink_to("/etc/passwd"), OSError),
    ]:
        make()
        with pytest.raises(error):
            SharedMemory(name)
        assert os.path.lexists(path)
        path.unlink()


def test_a_leading_slash_makes_no_difference(name):
    block = SharedMemory("/" + name, create=True, size=10)
    assert (block.name, block._name) == ("/" + name, "//" + name)
    assert SharedMemory(name).size == 10
    block.unlink()


def test_pickling_sends_the_name_and_unpickling_attaches_or_fails():
    block = SharedMemory(create=True, size=10)
    text = pickle.dumps(block)
    assert len(text) < 100
    again = pickle.loads(text)
    again.buf[0] = 7
    assert block.buf[0] == 7
    block.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(text)


def test_views_outlive_close_and_the_memory_goes_with_the_last_of_them(name):
    def is_mapped():
        return f" {inode} " in pathlib.Path("/proc/self/maps").read_text()

    block = SharedMemory(name, create=True, size=mmap.PAGESIZE)
    inode = (SHM / name).stat().st_ino
    raw = (ctypes.c_char * 4).from_buffer(block.buf)
    view = memoryview(block.buf)[1:]
    block.close()
    assert block.buf is None
    block.close()
    raw[0] = b"x"
    view[0] = 5
    assert is_mapped()
    block.unlink()
    del raw, view
    gc.collect()
    assert not is_mapped()


def test_the_interpreter_ends_silently_with_live_views():
    program = (
        OURS + "block = shared_memory.SharedMemory(create=True, size=9)\n"
        "view = memoryview(block.buf)[1:]; del block; view[0] = 1\n"
        "other = shared_memory.SharedMemory(create=True, size=9); more = other.buf[2:]"
    )
    done = python(program)
    assert (done.stdout, done.stderr) == ("", "")


def test_ten_thousand_cycles_leave_no_descriptor_no_map_and_no_file():
    def resources():
        maps = pathlib.Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count("/dev/shm"), maps.count("psm_")

    block = SharedMemory(create=True, size=100)
    before, notes_bytes = resources(), None
    for _ in range(5_000):
        attached = SharedMemory(block.name)
        attached.close()
    for _ in range(5_000):
        made = SharedMemory(create=True, size=100)
        made.close()
        made.unlink()
        notes_bytes = notes_bytes or os.fstat(made_by().fd).st_size
    assert resources() == before
    assert os.fstat(made_by().fd).st_size == notes_bytes
    block.unlink()


def made_by():
    from strata import _blocks

    return _blocks.join()


def test_a_subclass_may_ask_for_create_or_attach(name):
    class CreateOrAttach(SharedMemory):
        _flags = os.O_CREAT | os.O_RDWR

    block = SharedMemory(name, create=True, size=10)
    assert CreateOrAttach(name).size == 10
    block.unlink()


# --- lists ----------------------------------------------------------------------------------------

EXACT = [
    "",
    b"",
    "\0",
    b"\0",
    b"a\0",
    "é\0\0",
    b"1234567\0",
    b"12345678",
    b"12345678\0",
    "ünï" * 9,
    b"x" * 99_999 + b"\0",
    b"x" * 1_000_000 + b"\0\0",
]
PLAIN = [0, -1, 2**63 - 1, -(2**63), 0.5, float("inf"), True, False, None, "howdy", b"HoWdY"]


def test_a_list_gives_back_what_it_was_given():
    values = PLAIN + EXACT
    made = ShareableList(values)
    attached = ShareableList(name=made.shm.name)
    for one in (made, attached):
        assert [(type(value), value) for value in one] == [(type(value), value) for value in values]
    made.shm.unlink()


def test_an_item_is_replaced_by_any_other_that_fits():
    made = ShareableList([b"x" * 15, 1, "12345678" * 20_000])
    for value in EXACT[:9] + PLAIN:
        made[0] = value
        assert (type(made[0]), made[0]) == (type(value), value)
    for value in (b"1234567\0", b"\0" * 8, "", None, 5):
        made[1] = value
        assert (type(made[1]), made[1]) == (type(value), value)
    for bad in (b"x" * 17, "é" * 9):
        with pytest.raises(ValueError, match="exceeds available storage"):
            made[0] = bad
    made[0] = "kept"
    with pytest.raises(struct.error):
        made[0] = 2**63
    assert made[0] == "kept"
    slot = made._slot(2)
    with pytest.raises(ValueError, match=f"need a slot of {slot + 1}"):
        made[2] = "x" * (slot - 1) + "\0"  # a length for which the format has no room
    made.shm.unlink()


def test_lists_without_zeros_at_an_end_are_the_standard_bytes(standard_untracked):
    values = [value for value in PLAIN + EXACT[7:8] + ["x" * length for length in range(40)]]
    ours, theirs = ShareableList(values), standard_untracked.ShareableList(values)
    assert bytes(ours.shm.buf) == bytes(theirs.shm.buf)
    assert ours.format == theirs.format
    for one in (ours, theirs):
        one[9], one[2], one[-1] = b"bytes", None, "y" * 40
    assert bytes(ours.shm.buf) == bytes(theirs.shm.buf)
    theirs.shm.close()
    theirs.shm.unlink()
    ours.shm.unlink()


def test_text_that_ends_with_a_zero_has_the_bytes_of_the_format_page():
    made = ShareableList([b"ab\0", "howdy"])
    expected = (
        struct.pack("<q3q", 2, 0, 8, 16)
        + b"ab".ljust(8, b"\0")
        + b"howdy".ljust(8, b"\0")
        + b"3s0x".ljust(8, b"\0")
        + b"8s".ljust(8, b"\0")
        + b"\2\1"
    )
    assert bytes(made.shm.buf) == expected
    made.shm.unlink()


def test_lists_are_read_and_written_by_both_modules(standard_untracked):
    rng_seed = random.randrange(2**32)
    print("seed", rng_seed)
    rng = random.Random(rng_seed)
    pool = PLAIN + EXACT[:10]
    for _ in range(100):
        values = [rng.choice(pool) for _ in range(rng.randrange(1, 8))]
        ours = ShareableList(values)
        theirs = standard_untracked.ShareableList(name=ours.shm.name)
        strip = {str: lambda text: text.rstrip("\0"), bytes: lambda text: text.rstrip(b"\0")}
        as_theirs = [strip.get(type(value), lambda same: same)(value) for value in values]
        assert list(theirs) == as_theirs
        position, value = rng.randrange(len(values)), rng.choice(["t", b"u", 5, None, 2.5])
        theirs[position] = value
        assert ours[position] == value
        value = rng.choice([b"v\0", "w\0", 6, b"1234567\0"])
        ours[position] = value
        assert ours[position] == value
        assert theirs[position] == strip.get(type(value), lambda same: same)(value)
        theirs.shm.close()
        ours.shm.close()
        ours.shm.unlink()


def test_a_list_that_cannot_be_made_leaves_no_block(name):
    for bad, error in [([[]], KeyError), ([2**63], struct.error), (["\ud800"], UnicodeEncodeError)]:
        with pytest.raises(error):
            ShareableList(bad, name=name)
        assert not (SHM / name).exists()


def test_positions_beyond_the_ends_are_refused():
    made = ShareableList([1, 2])
    assert made[-2] == 1
    for position in (2, -3):
        with pytest.raises(IndexError, match="index out of range"):
            made[position]
        with pytest.raises(IndexError, match="assignment index out of range"):
            made[position] = 1
    made.shm.unlink()


def test_a_damaged_list_gives_an_error_or_a_value_and_never_another_block():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    values = [1, "two", b"three", 4.5, None, True]
    made = ShareableList(values)
    good = bytes(made.shm.buf)
    refused = 0
    for _ in range(3_000):
        made.shm.buf[:] = good
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(good))
            made.shm.buf[at] = rng.randrange(256)
        try:
            attached = ShareableList(name=made.shm.name)
            for position in range(len(attached)):
                attached[position]
        except ValueError:  # UnicodeDecodeError is one
            refused += 1
        except struct.error as error:
            raise AssertionError(bytes(made.shm.buf)) from error
    assert refused > 300
    made.shm.unlink()


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        bytes(15),
        b"\xff" * 100,
        struct.pack("<q", 2**62) * 4,
        struct.pack("<qqq", 1, 0, -8) + bytes(64),
    ],
    ids=repr,
)
def test_a_block_that_holds_no_list_is_refused(content, name):
    block = SharedMemory(name, create=True, size=len(content))
    block.buf[:] = content
    with pytest.raises(ValueError, match="holds no ShareableList"):
        ShareableList(name=name)
    block.unlink()


def test_lists_are_pickled_by_name_and_compared_by_value():
    made = ShareableList([1, "a", 1])
    again = pickle.loads(pickle.dumps(made))
    again[0] = 9
    assert list(made) == [9, "a", 1]
    assert (made.count(1), made.index("a"), len(made)) == (1, 1, 3)
    with pytest.raises(ValueError):
        made.index("b")
    assert repr(made) == f"ShareableList([9, 'a', 1], name={made.shm.name!r})"
    made.shm.unlink()


def test_the_module_says_what_it_has():
    assert all(hasattr(shared_memory, name) for name in shared_memory.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        shared_memory.nothing
