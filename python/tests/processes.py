"""What tests do with threads, children and interpreters of their own."""

import os
import signal
import subprocess
import sys
import threading
import time

START_METHODS = ["fork", "forkserver", "spawn"]
LONG_S = 60  # a watchdog, never waited for


def in_thread(function):
    """What a function returns, or raises, in another thread."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LONG_S)
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def in_child(function):
    """What a function returns in a forked child, as text; what it raises, with its type."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(function())
        except BaseException as error:
            text = "%s: %s" % (type(error).__name__, error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def killed_child(function):
    """A forked child kills itself after the function."""
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def run_python(code, *arguments):
    """A fresh interpreter; its output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def wait_until(condition):
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


_CTRL_C = """
import os, signal, strata, sys, threading
%s
def interrupt():
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    print("waiting", flush=True)
    %s
except KeyboardInterrupt:
    print("interrupted")
%s
"""


def interrupted(before, wait, after=""):
    """Ctrl-C has to end a wait; what is printed after it."""
    code = _CTRL_C % (before, wait, after)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "waiting\n"
        out, _ = child.communicate("now\n", timeout=LONG_S)
    first, _, rest = out.partition("\n")
    assert first == "interrupted"
    return rest
