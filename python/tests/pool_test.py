"""strata.Pool: arrays that survive restarts and kills, in versions."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading

import numpy as np
import pytest

import strata


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    return str(tmp_path / "run.pool")


@pytest.fixture(name="pool")
def pool_fixture(path):
    with strata.Pool(path, size="32M") as pool:
        yield pool


def test_arrays_come_back_with_type_and_shape_in_another_process(pool, path):
    w = np.arange(12.0).reshape(3, 4)
    b = np.array([True, False])
    assert pool.save("model", {"w": w, "b": b}) == 1
    assert pool.save("mesh", w.T) == 1
    out = subprocess.run(
        [sys.executable, "-c",
         "import strata, sys; p = strata.Pool(sys.argv[1]); m = p.load('model'); t = p.load('mesh');"
         "print(sorted(m), m['w'].tolist(), m['b'].dtype, t.shape, t[3].tolist(), p.names())", path],
        capture_output=True, text=True, check=True)  # fmt: skip
    assert out.stdout.split("\n")[0] == (
        "['b', 'w'] %r bool (4, 3) [3.0, 7.0, 11.0] ['mesh', 'model.b', 'model.w']" % w.tolist()
    )


def test_versions_are_kept_and_found_by_their_numbers(pool):
    for number in range(1, 5):
        assert pool.save("a", np.full(1000, number), keep=2) == number
    assert pool.versions("a")[:3] == [4, 3, 2]
    assert pool.load("a")[0] == 4
    assert pool.load("a", version=3)[0] == 3
    pool.rollback("a", 3)
    assert pool.save("a", np.full(1000, 9)) == 5
    with pytest.raises(FileNotFoundError, match="no version 77"):
        pool.load("a", version=77)
    with pytest.raises(FileNotFoundError):
        pool.load("nothing")


def test_a_dict_of_other_keys_is_a_version_of_its_own(pool):
    pool.save("model", {"w": np.ones(3), "b": np.ones(2)})
    pool.save("model", {"w": np.zeros(3)})
    assert sorted(pool.load("model")) == ["w"]
    assert sorted(pool.load("model", version=1)) == ["b", "w"]


def test_a_transaction_is_all_or_nothing(pool):
    pool.save("a", np.zeros(4))
    with pytest.raises(KeyError):
        with pool.transaction() as tx:
            tx.save("a", np.ones(4))
            tx.save("b", np.ones(4))
            raise KeyError("half way")
    assert pool.names() == ["a"]
    assert pool.load("a").tolist() == [0, 0, 0, 0]
    with pool.transaction() as tx:
        tx.save("a", np.ones(4))
        tx.save("b", np.ones(4))
    assert tx.version == 2
    assert pool.versions("b") == [2]


@pytest.mark.parametrize(
    ("name", "arrays", "error"),
    [
        ("a/b", np.ones(3), ValueError),
        ("a", {}, ValueError),
        ("a", {"x.y": np.ones(3)}, ValueError),
        ("a", {3: np.ones(3)}, ValueError),
        ("a", np.array([]), ValueError),
        ("a", np.array([None]), ValueError),
        ("a", "text", TypeError),
        ("a", {"good": np.ones(3), "bad": object()}, TypeError),
        ("a", np.ones(1 << 23), strata.ExhaustedError),
    ],
)
def test_what_cannot_be_saved_changes_nothing(pool, name, arrays, error):
    pool.save("a", {"good": np.zeros(3)})
    with pytest.raises(error):
        pool.save(name, arrays)
    assert pool.names() == ["a.good"]
    assert pool.versions("a") == [1]


def work_on(array):
    array[0] += 1
    return os.getpid()


def test_workers_share_what_was_loaded(pool):
    pool.save("a", np.zeros(100))
    loaded = pool.load("a")
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        workers.map(work_on, [loaded] * 4)
    assert loaded[0] == 4
    assert pool.load("a")[0] == 0


def test_damage_is_an_error_and_never_returned(pool, path):
    pool.save("a", np.arange(100_000))
    pool.verify("a")
    with open(path, "r+b") as file:
        content = file.read()
        where = content.index(np.arange(50_000, 50_016).tobytes())
        file.seek(where)
        file.write(b"\xff")
    with pytest.raises(strata.CorruptError, match="block"):
        pool.load("a")
    with pytest.raises(strata.CorruptError):
        pool.verify("a")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        strata.Pool(tmp_path / "none.pool")
    foreign = tmp_path / "foreign.pool"
    foreign.write_bytes(b"x" * (8 << 20))
    with pytest.raises(strata.Error):
        strata.Pool(foreign)
    with pytest.raises(ValueError):
        strata.Pool(tmp_path / "small.pool", size=4096)


SAVER = """
import sys, numpy as np, strata
pool = strata.Pool(sys.argv[1])
number = 0
while True:
    number += 1
    pool.save("state", {"x": np.full(20_000, number), "y": np.full(10, number)}, keep=1)
    print(number, flush=True)
"""


def test_a_killed_saver_leaves_the_whole_of_its_last_version(path):
    seed = int(os.environ.get("STRATA_SEED", random.randrange(1 << 30)))
    print("STRATA_SEED=%d" % seed)
    dice = random.Random(seed)
    pool = strata.Pool(path, size="32M")
    for _ in range(5):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE)
        told = [0]

        def read(saver=saver, told=told):
            for line in saver.stdout:
                told.append(int(line))

        reader = threading.Thread(target=read)
        reader.start()
        while len(told) < 3 and saver.poll() is None:
            threading.Event().wait(0.01)
        assert saver.poll() is None
        threading.Event().wait(dice.random() * 0.05)
        saver.kill()
        saver.wait()
        reader.join()
        state = pool.load("state")
        values = set(state["x"].tolist()) | set(state["y"].tolist())
        assert len(values) == 1
        # Told is durable; the next one may have been published, and not told.
        assert values.pop() in (told[-1], told[-1] + 1)
    checked = subprocess.run(
        [sys.executable, "-m", "strata", "pool", "check", path], capture_output=True, check=False)  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
