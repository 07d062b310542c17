"""What a shell offers at TAB: bash runs the script that `strata completion bash` prints; zsh and
fish where they are installed."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.e2e.command import DONE, STRATA, USAGE, as_json, new_name, ok, refusal, strata

# As readline calls a completion function: the words broken where COMP_WORDBREAKS says.
BASH = r"""
source <("$STRATA" completion bash) || exit 1
[[ $(complete -p strata) == "complete -F _strata strata" ]] || exit 2
COMP_LINE=$1 COMP_POINT=${#1}
cur=$2
COMP_WORDS=() COMP_CWORD=0
PATH=$(dirname "$STRATA"):$PATH
_strata strata "$cur" ""
printf '%s\n' "${COMPREPLY[@]}"
"""


def in_bash(line, current=None):
    """What COMPREPLY holds at the end of the line; `current` is the word as bash breaks it."""
    if current is None:
        current = line.split(" ")[-1].split(":")[-1].split("=")[-1]
    run = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", BASH, "bash", line, current],
        capture_output=True, timeout=100, check=True, env={**os.environ, "STRATA": STRATA},
    )  # fmt: skip
    assert run.stderr == b"", run.stderr
    return run.stdout.decode().splitlines() if run.stdout != b"\n" else []


@pytest.fixture
def uri():
    # What is cut off below is no part of a number, so that it is of this one alone.
    name = f"shm:{new_name()}-mesh"
    ok("create", name, "--size", "64K")
    yield name
    strata("rm", "--force", name)


def test_commands_are_completed():
    assert in_bash("strata se") == ["seal"]
    assert in_bash("strata pool ch") == ["check", "checkpoint"]
    assert set(in_bash("strata ")) == {each["name"] for each in as_json("help")["commands"]}
    assert in_bash("strata help pool rep") == ["repair"]
    assert in_bash("strata completion ") == ["bash", "zsh", "fish"]


def test_options_and_their_values_are_completed():
    assert in_bash("strata create --int") == ["--interleave"]
    assert in_bash("strata create shm:x --json --tier ") == ["bandwidth", "latency", "capacity"]
    # Bash replaces only what stands behind the last "=".
    assert in_bash("strata create shm:x --tier=lat") == ["latency"]
    assert in_bash("strata --json pool check --q") == ["--quick"]


def test_segments_are_completed_behind_the_colon_at_which_bash_breaks_words(uri):
    name = uri.removeprefix("shm:")
    assert in_bash(f"strata cat {uri[:-2]}") == [name]
    assert uri in in_bash("strata cat ")
    assert "shm:" in in_bash("strata create s", "s")
    # Within quotes bash breaks no words.
    assert in_bash(f"strata cat '{uri[:-2]}", uri[:-2]) == [uri]


def test_segments_of_a_pool_are_completed(tmp_path):
    pool = tmp_path / "a pool"
    ok("pool", "create", pool, "--size", "8M")
    (tmp_path / "file").write_bytes(b"x")
    ok("put", tmp_path / "file", f"pmem:{pool}#mesh")
    typed = f"pmem:{pool}#m"
    assert in_bash(f"strata cat '{typed}", typed) == [f"pmem:{pool}#mesh"]
    escaped = str(pool).replace(" ", "\\ ")
    assert in_bash(f"strata cat pmem:{escaped}#m", "x") == [f"{escaped}#mesh"]


def test_files_are_completed_where_a_file_is_meant(tmp_path):
    (tmp_path / "run.pool").touch()
    (tmp_path / "other").touch()
    for line in ("strata pool check ", "strata put ", "strata gc --pool ", "strata gc --pool="):
        assert in_bash(f"{line}{tmp_path}/ru", f"{tmp_path}/ru") == [f"{tmp_path}/run.pool"]


def test_nothing_is_offered_for_what_means_nothing_and_nothing_is_said():
    for line in ("strata frob ", "strata create shm:x --size ", "strata pool ls a b ", "strata 'x",
                 "strata ls \\", "strata ls nope:"):  # fmt: skip
        assert in_bash(line) == []
    for arguments in ([], ["--"], ["--line"], ["--line", ""], ["--word-breaks"], ["x", "y", "z"]):
        run = strata("__complete", *arguments)
        assert (run.returncode, run.stderr) == (DONE, b"")


def test_a_name_that_steers_the_terminal_is_not_offered(tmp_path):
    pool = tmp_path / "p\x1b[2J"
    ok("pool", "create", pool, "--size", "8M")
    (tmp_path / "file").write_bytes(b"x")
    ok("put", tmp_path / "file", f"pmem:{pool}#mesh")
    run = strata("__complete", "--", "cat", "pmem:")
    assert b"\x1b" not in run.stdout


def test_a_place_that_does_not_answer_keeps_nobody_waiting(tmp_path):
    # A pool that is a FIFO would be opened for ever, if it were opened.
    os.mkfifo(tmp_path / "fifo")
    run = strata("__complete", "--", "cat", f"pmem:{tmp_path}/fifo#")
    assert (run.returncode, run.stdout, run.stderr) == (DONE, b"", b"")


def test_only_known_shells_have_a_script():
    assert "bash, zsh, fish" in refusal(USAGE, "completion", "csh")["message"]
    document = as_json("completion", "fish")
    assert document["shell"] == "fish" and document["script"] == ok("completion", "fish").decode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_of_that_shells_language(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_bytes(ok("completion", shell))
    subprocess.run([shell, "-n", script], check=True, timeout=100)


def test_fish_completes_commands_and_segments(uri, tmp_path):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    path = os.path.dirname(STRATA) + ":" + os.environ["PATH"]

    def in_fish(line):
        command = 'strata completion fish | source; complete -C "$argv[1]"'
        run = subprocess.run(["fish", "--no-config", "-c", command, line], capture_output=True,
                             timeout=100, check=True,
                             env={**os.environ, "PATH": path, "HOME": str(tmp_path)})  # fmt: skip
        assert run.stderr == b"", run.stderr
        return [each.split("\t")[0] for each in run.stdout.decode().splitlines()]

    assert in_fish("strata se") == ["seal"]
    assert in_fish("strata pool ch") == ["check", "checkpoint"]
    assert in_fish(f"strata cat {uri[:-2]}") == [uri]
    (tmp_path / "run.pool").touch()
    assert in_fish(f"strata pool check {tmp_path}/ru") == [f"{tmp_path}/run.pool"]


class Terminal:
    """An interactive shell that somebody types into."""

    def __init__(self, arguments, environment):
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:
            os.execvpe(arguments[0], arguments, environment)
        self.shown = b""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text.encode() not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self.shown += os.read(self.fd, 4096)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_completes_a_name_at_the_prompt(shell, uri, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = {
        **os.environ, "PATH": os.path.dirname(STRATA) + ":" + os.environ["PATH"],
        "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb", "PS1": "ready$ ",
    }  # fmt: skip
    arguments = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    terminal = Terminal(arguments, environment)
    try:
        if shell == "zsh":
            terminal.type("autoload -U compinit && compinit -u -D\n")
        terminal.type(f"source <(strata completion {shell}); echo its-$((40 + 2))\n")
        terminal.until("its-42")
        # What is echoed has the name only where TAB has completed it.
        terminal.type(f"strata info {uri[:-3]}\t | head -1; echo its-$((40 + 3))\n")
        terminal.until("its-43")
        assert b"-mesh" in terminal.shown, terminal.shown
        assert b"no such segment" not in terminal.shown, terminal.shown
    finally:
        terminal.end()
