"""fuzz_test finds what it is for: instrumented code, and a sanitizer that stops at the fault."""

import subprocess


def test_a_planted_read_past_the_end_is_found(tmp_path):
    command = ["tests/fuzz/planted_bug_fuzz_program", "-seed=1", "-runs=2000000"]
    run = subprocess.run(
        command + [f"-artifact_prefix={tmp_path}/"],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    assert run.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in run.stderr
    (crash,) = tmp_path.glob("crash-*")
    assert crash.read_bytes().startswith(b"SEG")
