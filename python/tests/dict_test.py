"""strata.Dict: a dict in shared memory, also when those who change it are killed."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import MutableMapping
from concurrent.futures import ProcessPoolExecutor

import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]
PLENTY = 120  # seconds: a watchdog


def wait_until(condition):
    end = time.monotonic() + PLENTY
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


def test_values_come_back_with_their_types():
    shared = strata.Dict()
    values = [
        None, True, False, 0, -1, 2**63 - 1, -(2**63), 0.5, float("inf"), "", "text", "a\0b",
        "ä🙂", b"", b"a\0b", b"x" * 3_000_000, "y" * 300_000,
    ]  # fmt: skip
    for value in values:
        shared["key"] = value
        got = shared["key"]
        assert got == value and type(got) is type(value)


def test_keys_are_told_apart_by_type_as_in_a_dict():
    shared = strata.Dict()
    keys = ["1", b"1", 1, "", b"", 0, -5, 2**63 - 1, "ä"]
    for number, key in enumerate(keys):
        shared[key] = number
    assert [shared[key] for key in keys] == list(range(len(keys)))
    assert sorted(map(repr, shared)) == sorted(map(repr, keys))
    assert len(shared) == len(keys)


@pytest.mark.parametrize("key", [True, 1.5, None, (1, 2), bytearray(b"a")])
def test_other_keys_are_a_type_error_that_says_what_keys_are(key):
    shared = strata.Dict()
    for use in (
        lambda: shared[key],
        lambda: key in shared,
        lambda: shared.__setitem__(key, 1),
        lambda: shared.pop(key, None),
    ):
        with pytest.raises(TypeError, match="str, bytes or int"):
            use()


def test_ints_beyond_64_bits_are_an_overflow_error():
    shared = strata.Dict()
    with pytest.raises(OverflowError):
        shared["a"] = 2**63
    with pytest.raises(OverflowError):
        shared[2**63] = 1
    assert len(shared) == 0


def test_it_behaves_as_a_dict():
    rng = random.Random(4)
    shared, plain = strata.Dict(), {}
    assert isinstance(shared, MutableMapping)
    for _ in range(5000):
        key = rng.choice([str, int, lambda n: str(n).encode()])(rng.randrange(300))
        value = rng.choice([rng.randrange(1000), rng.random(), "v" * rng.randrange(100), None])
        action = rng.randrange(7)
        if action == 0:
            assert shared.pop(key, "none") == plain.pop(key, "none")
        elif action == 1:
            assert shared.setdefault(key, value) == plain.setdefault(key, value)
        elif action == 2:
            assert (key in shared) == (key in plain)
            assert shared.get(key, 5) == plain.get(key, 5)
        elif action == 3 and key in plain:
            del shared[key], plain[key]
        else:
            shared[key] = plain[key] = value
        assert len(shared) == len(plain)
    assert shared == plain and shared.copy() == plain
    assert set(shared.keys()) == set(plain) and shared.keys() & {0, 1} == plain.keys() & {0, 1}
    assert set(shared.items()) == set(plain.items())
    assert sorted(map(repr, shared.values())) == sorted(map(repr, plain.values()))
    with pytest.raises(KeyError):
        shared["absent"]
    with pytest.raises(KeyError):
        del shared["absent"]
    with pytest.raises(KeyError):
        shared.pop("absent")
    key, value = shared.popitem()
    assert plain.pop(key) == value
    shared.update({"a": 1}, b=2)
    shared |= [("c", 3)]
    assert (shared["a"], shared["b"], shared["c"]) == (1, 2, 3)
    assert shared.check()["findings"] == []
    shared.clear()
    assert not shared and shared == {} and list(shared) == []
    with pytest.raises(KeyError):
        shared.popitem()


def test_add_counts_and_compare_and_set_swaps():
    shared = strata.Dict()
    assert shared.add("n") == 1
    assert shared.add("n", 41) == 42
    shared["text"] = "no number"
    with pytest.raises(ValueError, match="no integer"):
        shared.add("text")
    shared["n"] = 2**63 - 1
    with pytest.raises(ValueError, match="64 bits"):
        shared.add("n")
    assert not shared.compare_and_set("text", "other", 1)
    assert shared.compare_and_set("text", "no number", 1)
    assert not shared.compare_and_set("text", True, 2)  # 1 is no bool
    assert not shared.compare_and_set("text", strata.Dict.ABSENT, 2)
    assert shared.compare_and_set("new", strata.Dict.ABSENT, 2)
    assert shared.compare_and_set("new", 2, strata.Dict.ABSENT)
    assert shared.copy() == {"n": 2**63 - 1, "text": 1}


def test_pickles_are_written_and_read_only_where_they_are_asked_for(uri):
    strict = strata.Dict(uri)
    with pytest.raises(TypeError, match="pickle=True"):
        strict["list"] = [1, 2]
    trusting = strata.Dict(uri, pickle=True)
    trusting["list"] = [1, 2]
    trusting["large"] = 2**100
    trusting["plain"] = 5
    assert trusting["list"] == [1, 2] and trusting["large"] == 2**100
    with pytest.raises(ValueError, match="pickle=True"):
        strict["list"]
    assert strict["plain"] == 5 and len(strict) == 3 and "list" in strict


def test_a_name_of_something_else_is_a_value_error_and_no_name_is_not_found(uri):
    strata.create(uri, (3,), "float64")
    with pytest.raises(ValueError, match="no strata.Dict"):
        strata.Dict(uri)
    with pytest.raises(ValueError, match="no strata.Dict"):
        strata.Dict.attach(uri)
    with pytest.raises(FileNotFoundError):
        strata.Dict.attach(uri + "-none")


def test_who_may_only_read_reads_and_gets_a_permission_error_for_more(uri):
    shared = strata.Dict(uri)
    shared["a"] = "text"
    reader = strata.Dict.attach(uri, "r")
    assert reader.copy() == {"a": "text"} and reader["a"] == "text" and len(reader) == 1
    for change in (
        lambda: reader.update(b=2),
        lambda: reader.add("n"),
        lambda: reader.pop("a"),
        reader.clear,
    ):
        with pytest.raises(PermissionError, match='mode "r"'):
            change()
    again = pickle.loads(pickle.dumps(reader))
    assert again.mode == "r" and again["a"] == "text"


def test_a_full_dict_is_a_memory_error_with_nothing_changed():
    shared = strata.Dict(size="1M", max_size="1M", transaction_size="16K")
    with pytest.raises(MemoryError):
        shared["large"] = b"x" * 4_000_000
    count = 0
    with pytest.raises(MemoryError):
        while True:
            shared[count] = b"v" * 1000
            count += 1
    assert len(shared) == count and count > 100
    with pytest.raises(MemoryError):
        shared.update((str(i), i) for i in range(10_000))
    assert len(shared) == count
    shared.clear()
    for i in range(count - 1):
        shared[i] = b"w" * 1000
    assert shared.check()["findings"] == []


def test_it_grows_up_to_max_size():
    shared = strata.Dict(size="1M", max_size="64M", transaction_size="16K")
    again = pickle.loads(pickle.dumps(shared))
    for i in range(20):
        shared[i] = bytes([i]) * 1_000_000
    assert all(again[i] == bytes([i]) * 1_000_000 for i in range(20))


def test_a_transaction_is_all_or_nothing_and_only_its_thread_sees_it_before_its_end(uri):
    shared, other = strata.Dict(uri), strata.Dict(uri)
    shared["a"], shared["b"] = 100, 0
    with shared.transaction():
        shared["a"] -= 10
        shared["b"] += 10
        shared["new"] = "text"
        assert (shared["a"], shared["b"], shared["new"], len(shared)) == (90, 10, "text", 3)
        assert shared.copy() == {"a": 90, "b": 10, "new": "text"}
        assert other.copy() == {"a": 100, "b": 0}
        seen = []
        thread = threading.Thread(target=lambda: seen.append(shared.copy()))
        thread.start()
        thread.join(PLENTY)
        assert seen == [{"a": 100, "b": 0}]
    assert other.copy() == {"a": 90, "b": 10, "new": "text"}
    with pytest.raises(ZeroDivisionError):
        with shared.transaction():
            shared["a"] = 0
            shared.clear()
            shared["z"] = 1 // 0
    assert other.copy() == {"a": 90, "b": 10, "new": "text"} and not shared.in_transaction
    with shared.transaction():
        shared.update({"c": 1})
        assert shared.pop("new") == "text"
        assert shared.setdefault("c", 5) == 1
        assert shared.add("c") == 2
        del shared["b"]
    assert other.copy() == {"a": 90, "c": 2}


def test_an_exception_that_ends_an_inner_transaction_ends_the_outer_one():
    shared = strata.Dict()
    with pytest.raises(strata.StateError):
        with shared.transaction():
            shared["a"] = 1
            try:
                with shared.transaction():
                    shared["b"] = 2
                    raise RuntimeError("inner")
            except RuntimeError:
                pass
            shared["c"] = 3
    assert shared.copy() == {}


def test_changes_wait_for_a_transaction_of_another_thread_and_time_out_where_asked(uri):
    shared = strata.Dict(uri)
    hurried = strata.Dict(uri, timeout=0.01)
    begun, end = threading.Event(), threading.Event()

    def hold():
        with shared.transaction():
            shared["held"] = 1
            begun.set()
            end.wait(PLENTY)

    holder = threading.Thread(target=hold)
    holder.start()
    assert begun.wait(PLENTY)
    assert "held" not in hurried
    for change in (
        lambda: hurried.add("n"),
        lambda: hurried.update(a=1),
        lambda: hurried.__setitem__("a", b"x" * 1_000_000),
        lambda: hurried.transaction(timeout=0).__enter__(),
    ):
        with pytest.raises(TimeoutError):
            change()
    done = []
    waiter = threading.Thread(target=lambda: done.append(shared.add("n")))
    waiter.start()
    end.set()
    holder.join(PLENTY)
    waiter.join(PLENTY)
    assert done == [1] and shared.copy() == {"held": 1, "n": 1}


def test_ctrl_c_ends_the_wait_for_the_lock(uri):
    code = """
import strata, sys
shared = strata.Dict(sys.argv[1])
try:
    print("waiting", flush=True)
    shared["a"] = 1
except KeyboardInterrupt:
    print("interrupted", "a" in shared)
"""
    shared = strata.Dict(uri)
    with shared.transaction():
        child = subprocess.Popen(
            [sys.executable, "-c", code, uri], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "waiting\n"
        time.sleep(0.05)  # most often it waits by now; before that, too, it is interrupted
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=PLENTY)
    assert child.returncode == 0 and out == "interrupted False\n"
    assert len(shared) == 0


def count(shared, number):
    for i in range(number):
        shared.add("count")
        shared["worker %d" % os.getpid()] = i
    return shared["count"] >= number


@pytest.mark.parametrize("method", START_METHODS)
def test_it_goes_to_workers_by_pickle_and_their_counts_are_exact(method):
    shared = strata.Dict()
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        assert all(pool.map(count, [shared] * 6, [200] * 6))
    assert shared["count"] == 1200
    assert shared.check()["findings"] == []


@pytest.mark.parametrize("method", START_METHODS)
def test_it_goes_to_a_process_as_an_argument(method):
    shared = strata.Dict()
    context = multiprocessing.get_context(method)
    child = context.Process(target=count, args=(shared, 50))
    child.start()
    child.join(PLENTY)
    assert child.exitcode == 0 and shared["count"] == 50


def child_reads(shared):
    try:
        return shared.copy() == {"a": 1} and not shared.in_transaction
    except BaseException:  # pylint: disable=broad-exception-caught
        return False


def test_a_forked_child_does_not_end_its_parents_transaction():
    shared = strata.Dict()
    shared["a"] = 1
    with shared.transaction():
        shared["a"] = 2
        child = os.fork()
        if child == 0:
            # A child sees what is committed, and its end is nobody's abort.
            os._exit(0 if child_reads(shared) else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        shared["b"] = 3
    assert shared.copy() == {"a": 2, "b": 3}


def move_money(uri, seed):
    shared = strata.Dict(uri)
    rng = random.Random(seed)
    while True:
        with shared.transaction():
            a, b = rng.sample(range(10), 2)
            amount = rng.randrange(1, 20)
            shared[a] -= amount
            shared[b] += amount
            shared["note"] = "x" * rng.randrange(500)
            shared.pop("key %d" % rng.randrange(50), None)
            shared["key %d" % rng.randrange(50)] = amount
            shared.add("commits")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_are_killed_at_random_leave_whole_transactions(method, uri):
    shared = strata.Dict(uri)
    shared.update({i: 1000 for i in range(10)})
    context = multiprocessing.get_context(method)
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)

    def start(number):
        worker = context.Process(target=move_money, args=(uri, seed + number), daemon=True)
        worker.start()
        return worker

    workers = [start(i) for i in range(3)]
    kills = 25 if method == "fork" else 6
    for i in range(kills):
        until = shared.get("commits", 0) + rng.randrange(1, 60)
        wait_until(lambda: shared.get("commits", 0) >= until)  # pylint: disable=cell-var-from-loop
        # What is read without a lock is whole, too.
        seen = shared.copy()
        assert sum(seen[key] for key in range(10)) == 10_000
        victim = workers[rng.randrange(len(workers))]
        victim.kill()
        victim.join()
        workers[workers.index(victim)] = start(100 + i)
    for worker in workers:
        worker.kill()
        worker.join()
    with shared.transaction():
        assert sum(shared[key] for key in range(10)) == 10_000
    report = shared.check()
    assert report["findings"] == [] and report["keys"] == len(shared)
    checked = subprocess.run(
        [sys.executable, "-m", "strata", "check", uri], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "dictionary dictionary: %d keys" % len(shared) in checked.stdout


def test_one_in_a_pool_is_there_again_with_whole_transactions(tmp_path):
    pool = str(tmp_path / "words.pool")
    strata.Pool(pool, size="32M")
    uri = "pmem:%s#words" % pool
    shared = strata.Dict(uri)
    shared["kept"] = "text"
    child = os.fork()
    if child == 0:
        try:
            shared["count"] = 1
            with shared.transaction():
                shared["never"] = shared["kept"] = 2
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    del shared
    again = strata.Dict(uri)
    assert again.copy() == {"kept": "text", "count": 1}
    assert again.add("count") == 2


def test_an_interpreter_that_never_called_init_is_refused():
    with pytest.raises(ValueError, match="__init__"):
        len(strata.Dict.__new__(strata.Dict))


def test_a_nameless_one_is_gone_with_its_last_process():
    shared = strata.Dict()
    uri = shared.uri
    assert strata.stat(uri)["type"] == "strata.Dict"
    del shared
    with pytest.raises(strata.NotFoundError):
        strata.Dict.attach(uri)
