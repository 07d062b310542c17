"""The demo tells the truth: its totals are those of wc, and it fails where they are not."""

import os
import subprocess

DEMO = os.path.abspath(os.environ.get("DEMO", "examples/demo/demo"))
STRATA = os.path.abspath(os.environ.get("STRATA", "tools/strata"))
FAKE_CUDA = os.path.abspath(os.environ.get("FAKE_CUDA", "tests/fake_cuda/libcuda.so.1"))


def segments():
    ours = ("strata.strata-demo-", "strata-cuda.strata-demo-", "strata-demo-")
    return {f for f in os.listdir("/dev/shm") if f.startswith(ours)}


def run_demo(*arguments, **environment):
    """Runs it; whatever comes of that, it leaves no segment."""
    before = segments()
    run = subprocess.run(
        [DEMO, *map(str, arguments)],
        env=dict(os.environ, STRATA=STRATA, FAKE_CUDA=FAKE_CUDA, **environment),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert segments() <= before, run.stdout + run.stderr
    return run


def test_the_demo_runs_to_its_end_and_leaves_nothing(tmp_path):
    run = run_demo(TMPDIR=str(tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "All of it held." in run.stdout and "✗" not in run.stdout
    assert run.stdout.count("is killed with SIGKILL") == 5
    assert run.stdout.count("and all workers are killed with SIGKILL, worker") == 1
    assert "every share that was done is there, and none that was not" in run.stdout
    assert run.stdout.count("equal to what one process counts, word for word") == 2
    assert "FAKE driver and proves nothing about hardware" in run.stdout or "On device" in run.stdout
    assert "that the dead producer wrote are there" in run.stdout
    assert "the pool has every byte that the producer wrote" in run.stdout
    assert ".pool: sound" in run.stdout and ".pool: consistent" in run.stdout
    assert not list(tmp_path.iterdir())


def test_texts_of_any_bytes_are_counted_as_wc_does(tmp_path):
    (tmp_path / "no newline at the end").write_bytes(b"one two\nthree")
    (tmp_path / "it's binary").write_bytes(os.urandom(50_000))
    (tmp_path / "long").write_bytes(b"word " * 30_000)
    run = run_demo("--workers", 3, *sorted(tmp_path.iterdir()))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "equal for 3 of 3 texts" in run.stdout


def test_the_least_of_texts_and_workers_are_enough(tmp_path):
    (tmp_path / "text").write_text("one two three " * 100)
    for workers in (1, 2, 7):
        run = run_demo("--workers", workers, tmp_path / "text")
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stdout.count("equal to what one process counts, word for word") == 2


def test_a_wrong_total_is_a_failure(tmp_path):
    # A `wc` that is off by one line stands in for workers that are.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "wc").write_text(
        "#!/bin/sh\n/usr/bin/wc \"$@\" | awk '{ $1 = $1 + 1; print }'\n"
    )
    (fake / "wc").chmod(0o755)
    (tmp_path / "text").write_text("some words\n" * 2000)
    run = run_demo(tmp_path / "text", PATH=f"{fake}:{os.environ['PATH']}")
    assert run.returncode == 1
    assert "✗ equal for 0 of 1 texts" in run.stdout


def test_a_missing_file_is_a_failure(tmp_path):
    assert run_demo(tmp_path / "absent").returncode == 1
