"""Every numbered example runs to its end."""

import subprocess

import pytest

EXPECTED = {
    "01_create_attach": "hello from another process",
    "02_publish_seal_verify": "sealed, and the hash is right",
    "03_grow": "grew from 1048576 to 8388608 bytes, at the same address: yes",
    "04_hand_over": "the other process wrote 42",
    "05_transaction": "paid: alice 90, bob 10",
    "06_lock_and_ring": "the holder died",
    "07_pool": "blocks verified: 2 hits",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_example_does_what_it_says(name):
    run = subprocess.run(
        [f"examples/{name}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert EXPECTED[name] in run.stdout
