"""Cuts the power of a machine at random moments and holds it to what it promised.

Three processes per medium do transactions in the guest and acknowledge each over the console. The
host kills the emulator, restores the machine on the same NVDIMM files (a snapshot from before the
first transaction, which takes a tenth of a boot), lets it recover, and compares what is there with
every acknowledgement that had left the machine. The media: a DAX file system, and ext4 behind the
page cache of the guest, which dies with it.

A kill proves recovery from a stop at any instruction. It cannot show a missing flush on DAX, for
the CPU's caches are coherent with the file: that is what shadow_image_test is for. It does show a
missing sync behind the page cache, and the planted bugs of this program prove that it does.

usage: python3 -m tests.vm.power_failure [--cycles N | --minutes N] [--seed N] [--plant BUG]
           PROGRAM...
"""

import argparse
import os
import random
import re
import sys
import time

from tests.vm import boards
from tests.vm import guest
from tests.vm import kernel
from tests.vm import machine
from tests.vm import protocol
from tests.vm import run_suite

MEDIA = ("dax", "paged")
STEP_TIMEOUT_S = 200
LONGEST_RUN_S = 0.6
# How often the power fails while the machine still recovers from the last failure, and while its
# processes open what they are going to change.
CUT_DURING_RECOVERY = 0.2
CUT_DURING_OPEN = 0.1
# How often a slow process is waited for: one that promises seldom would else never do so.
WAIT_FOR_SLOW = 0.3
# How often the whole of the pool is checked as well; always after the last cut.
THOROUGH = 0.1


class Broken(Exception):
    """A promise was not kept; names the medium."""

    def __init__(self, medium, what):
        super().__init__("%s: %s" % (medium, what))
        self.medium = medium


class PowerLoop:
    """One machine whose power fails again and again.

    All randomness comes from `seed`: a restored guest has the same clock and the same process
    numbers every time, and would repeat its own.
    """

    def __init__(self, work_dir, programs, suite, seed, plant="none", slow_process=None):
        self.work_dir = work_dir
        self.plant = plant
        self.slow_process = slow_process
        self.random = random.Random(seed)
        self.cuts = 0
        self.failures_survived = 0
        self._recovered = set()
        self.promised = {medium: {} for medium in MEDIA}
        initramfs = work_dir / "initramfs"
        image = guest.build(initramfs, programs, suite)
        board = boards.make("small_modules", work_dir)
        self._arguments = machine.arguments_for(board, image, initramfs, "")
        self._snapshot = work_dir / "snapshot"

    def prepare(self):
        """Boots, makes the file systems and the banks, and keeps the machine's state."""
        with machine.Machine(self._arguments, self.work_dir) as guest_machine:
            guest_machine.wait_for("@@READY", STEP_TIMEOUT_S)
            guest_machine.send("format %d" % self.random.getrandbits(32))
            self._read_until(guest_machine, "@@FORMATTED")
            guest_machine.snapshot(self._snapshot)

    def cycle(self, last=False):
        """Recovers, checks, runs and cuts the power; raises Broken or MachineError."""
        with machine.Machine(
                self._arguments, self.work_dir, restore_from=self._snapshot) as guest_machine:
            is_thorough = self.random.random() < THOROUGH or last
            guest_machine.send("recover thorough" if is_thorough else "recover")
            moment = self.random.random()
            if not last and moment < CUT_DURING_RECOVERY:
                time.sleep(self.random.uniform(0, LONGEST_RUN_S))
                self._cut(guest_machine)
                return
            self._recovered = set()
            self._read_until(guest_machine, "@@RECOVERED")
            for medium in set(MEDIA) - self._recovered:
                raise Broken(medium, "it did not say what it recovered")
            self.failures_survived = self.cuts
            if last:
                return
            guest_machine.send("run %s" % self.plant)
            if moment > 1 - CUT_DURING_OPEN:
                time.sleep(self.random.uniform(0, LONGEST_RUN_S))
            else:
                slow = self.random.random() < WAIT_FOR_SLOW and self.slow_process is not None
                self._run(guest_machine, self.random.uniform(0, LONGEST_RUN_S),
                          r"@@ACK \w+ %s " % (self.slow_process if slow else r"\d+"))
            self._cut(guest_machine)

    def _run(self, guest_machine, run_s, first):
        """Reads acknowledgements for so long after the one that matches `first`."""
        end_s = None
        while True:
            line = guest_machine.read_line(end_s or time.monotonic() + STEP_TIMEOUT_S)
            if line is None:
                if end_s and guest_machine.running():
                    return
                raise guest_machine.error("no acknowledgement")
            self._read(line)
            if end_s is None and re.match(first, line):
                end_s = time.monotonic() + run_s
            if end_s and time.monotonic() >= end_s:
                return

    def _cut(self, guest_machine):
        guest_machine.kill()
        self.cuts += 1
        # What had left the machine was promised, read or not.
        for line in guest_machine.rest_of_lines():
            self._read(line)

    def _read_until(self, guest_machine, marker):
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while (line := guest_machine.read_line(deadline_s)) is not None:
            self._read(line)
            if line == marker:
                return
        raise guest_machine.error("no %s within %d s" % (marker, STEP_TIMEOUT_S))

    def _read(self, line):
        """Remembers a promise, or holds the guest to all of them."""
        found = re.fullmatch(r"@@(ACK|DONE|BROKEN) (\w+) (.*)", line)
        if not found:
            return
        marker, medium, rest = found.groups()
        if marker == "BROKEN":
            raise Broken(medium, rest)
        numbers = [int(word) for word in rest.split()]
        if marker == "ACK":
            process, number = numbers
            self.promised[medium][process] = max(self.promised[medium].get(process, 0), number)
        else:
            self._recovered.add(medium)
            for process, there in enumerate(numbers):
                promised = self.promised[medium].get(process, 0)
                if there < promised:
                    raise Broken(medium, "process %d was promised %d transactions, %d are there" % (
                        process, promised, there))


def run(loop, cycles, end_s):
    """Cuts the power `cycles` times, or until `end_s`; returns the first failure or None."""
    loop.prepare()
    started_s = time.monotonic()
    done = 0
    try:
        while done < cycles and (end_s is None or time.monotonic() < end_s):
            loop.cycle()
            done += 1
            if done % 10 == 0:
                print("%d cuts in %.0f s, promised %s" % (
                    done, time.monotonic() - started_s, loop.promised), flush=True)
        loop.cycle(last=True)
    except Broken as broken:
        print("cycle %d: BROKEN %s" % (done, broken), flush=True)
        return broken
    return None


def report_clean(report, failure, loop):
    """One case per medium: it kept all promises."""
    for medium in MEDIA:
        name = "%s_keeps_every_acknowledged_transaction" % medium
        if failure is None and not loop.promised[medium]:
            report.add(name, "FAIL", "nothing was ever acknowledged")
        elif failure is None:
            report.add(name, "PASS")
        elif failure.medium in (medium, "suite"):
            report.add(name, "FAIL", str(failure))
        else:
            report.add(name, "SKIP", "stopped by the failure of %s" % failure.medium)
    print("verified: %d power failures survived" % loop.failures_survived)
    print("verified: %d acknowledged transactions kept over power failures" % (
        sum(sum(numbers.values()) for numbers in loop.promised.values())))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--cycles", type=int, default=64)
    parser.add_argument("--minutes", type=float, help="instead of --cycles")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--plant", default="none", help="a bug of bank.h, which must be found")
    parser.add_argument("--slow-process", type=int, help="its promises are waited for at times")
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = int(os.environ.get("STRATA_SEED") or random.SystemRandom().getrandbits(32))
    print("STRATA_SEED=%d" % seed, flush=True)
    report = protocol.Report("power_failure")
    cycles, end_s = options.cycles, None
    if options.minutes:
        cycles, end_s = sys.maxsize, time.monotonic() + 60 * options.minutes
    try:
        with run_suite.work_directory() as work_dir:
            loop = PowerLoop(work_dir, options.programs, options.suite, seed, options.plant,
                             options.slow_process)
            failure = run(loop, cycles, end_s)
            if options.plant == "none":
                report_clean(report, failure, loop)
            elif failure is None:
                report.add("finds_%s" % options.plant, "FAIL", "not in %d cycles" % cycles)
            else:
                report.add("finds_%s" % options.plant, "PASS")
    except kernel.Unavailable as reason:
        report.add("emulation", "SKIP", str(reason))
    except machine.MachineError as error:
        report.add("machine_restarts_after_every_failure", "FAIL", str(error))
    return report.write()


if __name__ == "__main__":
    sys.exit(main())
