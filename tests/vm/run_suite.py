"""Runs one suite in the guest and reports its cases as those of a Bazel test.

usage: python3 -m tests.vm.run_suite --suite SCRIPT [--board NAME] [--timeout-s N]
           [--tools NAMES] PROGRAM...
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from tests.vm import boards
from tests.vm import guest
from tests.vm import kernel
from tests.vm import machine
from tests.vm import protocol


@contextlib.contextmanager
def work_directory():
    """A directory with a path short enough for a unix socket, gone afterwards.

    Also when Bazel's watchdog ends the test: NVDIMM files are too large to be left behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    path = tempfile.mkdtemp(prefix="strata-vm-", dir="/tmp")
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(report, suite, programs, board_name, timeout_s, work_dir, tools=()):
    """Boots the guest and feeds its lines to the report."""
    initramfs = work_dir / "initramfs"
    image = guest.build(initramfs, programs, suite, tools)
    board = boards.make(board_name, work_dir)
    arguments = machine.arguments_for(board, image, initramfs, "")
    deadline_s = time.monotonic() + timeout_s
    error = ""
    with machine.Machine(arguments, work_dir) as guest_machine:
        while report.exit_code is None:
            line = guest_machine.read_line(deadline_s)
            if line is None:
                late = guest_machine.running() and time.monotonic() >= deadline_s
                error = str(guest_machine.error(
                    "no end within %d s" % timeout_s if late else "the guest died"))
                break
            print(line, flush=True)
            report.read(line)
    report.finish_guest(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--board", default="four_nodes", choices=sorted(boards.BOARDS))
    parser.add_argument("--timeout-s", type=int, default=800)
    parser.add_argument("--tools", default="", help="programs of the host that the guest needs")
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()
    report = protocol.Report(os.path.basename(options.suite))
    with work_directory() as work_dir:
        try:
            run(report, options.suite, options.programs, options.board, options.timeout_s,
                work_dir, options.tools.split())
        except kernel.Unavailable as reason:
            report.add("emulation", "SKIP", str(reason))
    return report.write()


if __name__ == "__main__":
    sys.exit(main())
