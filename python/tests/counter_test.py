"""Counter and ShardedCounter: no addition is lost, whoever adds and whoever is killed."""

import gc
import multiprocessing
import os
import pickle
import signal
import threading

import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]
KINDS = [strata.Counter, strata.ShardedCounter]


def _total(counter):
    return counter.value if isinstance(counter, strata.Counter) else counter.total()


def test_add_returns_the_new_value():
    counter = strata.Counter()
    assert [counter.add(), counter.add(5), counter.add(-10), counter.value] == [1, 6, -4, -4]
    counter.set(100)
    assert (counter.value, int(counter)) == (100, 100)


def test_compare_exchange_changes_what_is_expected_alone():
    counter = strata.Counter(value=7)
    assert not counter.compare_exchange(8, 9)
    assert counter.value == 7
    assert counter.compare_exchange(7, 9)
    assert counter.value == 9


def test_it_wraps_around_at_the_ends_of_64_bits():
    counter = strata.Counter(value=2**63 - 1)
    assert counter.add() == -(2**63)
    assert counter.add(-1) == 2**63 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_of_64_bits_is_refused(kind):
    counter = kind()
    with pytest.raises(OverflowError):
        counter.add(2**63)
    for wrong in ("1", None, 1.5):
        with pytest.raises(TypeError):
            counter.add(wrong)
    with pytest.raises(TypeError):
        counter.add(1, 2)
    assert _total(counter) == 0
    with pytest.raises(ValueError):
        kind.__new__(kind).add()


def test_a_named_one_keeps_its_value(uri):
    counter = strata.Counter(uri, value=5)
    assert strata.Counter(uri, value=9).add() == 6
    assert counter.value == 6
    assert strata.stat(uri)["type"] == "strata.Counter"
    with pytest.raises(ValueError, match="strata.Counter"):
        strata.ShardedCounter(uri)
    with pytest.raises(TypeError):
        strata.Counter(17)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_name_it_is_gone_with_its_last_user(kind):
    counter = kind()
    handle = pickle.dumps(counter)
    pickle.loads(handle).add(3)
    assert _total(counter) == 3
    del counter
    gc.collect()
    with pytest.raises(FileNotFoundError):
        pickle.loads(handle)


def _add_many(counter, times):
    for _ in range(times):
        counter.add()


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_addition_of_any_process_is_lost(kind, method):
    context = multiprocessing.get_context(method)
    counter = kind()
    workers = [context.Process(target=_add_many, args=(counter, 5000)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert _total(counter) == 20000


@pytest.mark.parametrize("kind", KINDS)
def test_no_addition_of_any_thread_is_lost(kind):
    counter = kind()
    threads = [threading.Thread(target=_add_many, args=(counter, 5000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _total(counter) == 20000


def test_a_worker_may_have_a_shard_of_its_own():
    counter = strata.ShardedCounter()
    assert counter.shards == strata.ShardedCounter.shards == 16
    for worker in range(40):
        counter.add_to(worker, worker)
        counter.add_to(worker)
    assert counter.total() == counter.value == sum(range(40)) + 40


def _add_by_pairs(mine, both):
    while True:
        mine.add()
        both.add()


def test_a_killed_process_has_added_or_has_not():
    context = multiprocessing.get_context("fork")
    both = strata.Counter()
    counters = [strata.Counter() for _ in range(3)]
    workers = [context.Process(target=_add_by_pairs, args=(mine, both)) for mine in counters]
    for worker in workers:
        worker.start()
    while any(mine.value < 1000 for mine in counters):
        pass
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    # Each was killed before its addition to `both` or after it.
    assert 0 <= sum(mine.value for mine in counters) - both.value <= 3
