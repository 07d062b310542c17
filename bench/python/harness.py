"""How the tables of bench/python are measured: ways that take turns, and their ratios.

A table has rows; a row is one way to do the same thing, and gives seconds for so many operations.
All rows of a table take turns within one round, and what counts is the median over the rounds of
the ratio to the first row in the same round: load that comes and goes hits both.
"""

import contextlib
import dataclasses
import importlib.util
import multiprocessing
import statistics
import time
import typing

# Of one row in one round. A watchdog, not a measure.
WATCHDOG_S = 300
SPAWN = multiprocessing.get_context("spawn")


class Absent(Exception):
    """What a row needs is not here; the text says what."""


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    # run(operations) does that many and returns the seconds that they took.
    run: typing.Callable[[int], float]
    # Operations of one round; slow ways do fewer, the table shows the time of one.
    operations: int
    # (module, how to get it): a row without them is named as absent. "strata.Lock" is an attribute.
    needs: tuple = ()


@dataclasses.dataclass(frozen=True)
class Goal:
    """The most that ours may take, as a multiple of the peer's time."""

    ours: str
    peer: str
    at_most: float


@dataclasses.dataclass(frozen=True)
class Table:
    key: str
    title: str
    operation: str
    rows: list
    goals: tuple = ()
    # A context manager around all rounds, such as a server.
    around: typing.Callable = contextlib.nullcontext


def check(counted, expected):
    if counted != expected:
        raise RuntimeError(f"the benchmark is wrong: {counted}, not {expected}")


def has(name):
    """Whether a module, or one attribute of it ("strata.Lock"), can be imported."""
    module, _, attribute = name.partition(".")
    try:
        if importlib.util.find_spec(module) is None:
            return False
        return not attribute or hasattr(importlib.import_module(module), attribute)
    except (ImportError, ValueError):
        return False


def absence(row):
    """How to get what the row lacks; None where it lacks nothing."""
    return "; ".join(how for name, how in row.needs if not has(name)) or None


def quartiles(values):
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def measure(table, rounds, scale=1.0, log=lambda text: None):
    """Runs a table. `scale` shrinks the operations, for a quick look."""
    absent = {row.name: why for row in table.rows if (why := absence(row))}
    rows = [row for row in table.rows if row.name not in absent]
    seconds = {row.name: [] for row in rows}
    with table.around():
        for number in range(rounds):
            for row in rows:
                if row.name in absent:
                    continue
                operations = max(8, int(row.operations * scale))
                try:
                    seconds[row.name].append(row.run(operations) / operations)
                except Absent as why:
                    absent[row.name] = str(why)
                    continue
                log(f"{table.key} {number + 1}/{rounds}: {row.name}")
    present = [row for row in rows if row.name not in absent]
    return {
        "table": table.key,
        "title": table.title,
        "operation": table.operation,
        "rows": [_result(row, seconds, present[0]) for row in present],
        "absent": absent,
        "goals": [
            _outcome(goal, seconds)
            for goal in table.goals
            if seconds.get(goal.ours) and seconds.get(goal.peer)
        ],
    }


def ratio(seconds, ours, peer):
    """Quartiles of the ratios of the rounds."""
    return quartiles([one / other for one, other in zip(seconds[ours], seconds[peer])])


def _result(row, seconds, base):
    low, median, high = quartiles(seconds[row.name])
    return {
        "name": row.name,
        "seconds": seconds[row.name],
        "median_s": median,
        "quartiles_s": [low, high],
        "ratio": ratio(seconds, row.name, base.name)[1],
    }


def _outcome(goal, seconds):
    low, median, high = ratio(seconds, goal.ours, goal.peer)
    return {
        "ours": goal.ours,
        "peer": goal.peer,
        "at_most": goal.at_most,
        "ratio": median,
        "quartiles": [low, high],
        "met": median <= goal.at_most,
    }


class Crew:
    """Processes that begin together: what is timed is from the word to the last that is done.

    Each target gets `ready` first, calls it once it is prepared, and does its work after that.
    """

    def __init__(self, context=None):
        self.context = context or multiprocessing.get_context("fork")
        self._ready = self.context.Semaphore(0)
        self._done = self.context.Semaphore(0)
        self._go = self.context.Event()
        self.processes = []

    def add(self, target, *arguments):
        signals = self._ready, self._go, self._done
        process = self.context.Process(target=_work, args=(signals, target, arguments), daemon=True)
        self.processes.append(process)

    def time(self, meanwhile=None):
        """Seconds until all are done and `meanwhile`, which this process does, is too."""
        for process in self.processes:
            process.start()
        try:
            self._await(self._ready)
            begin = time.perf_counter()
            self._go.set()
            if meanwhile:
                meanwhile()
            self._await(self._done)
            return time.perf_counter() - begin
        finally:
            for process in self.processes:
                process.join(WATCHDOG_S)

    def _await(self, semaphore):
        deadline = time.monotonic() + WATCHDOG_S
        for _ in self.processes:
            while not semaphore.acquire(timeout=1):
                dead = [one.exitcode for one in self.processes if one.exitcode]
                if dead or time.monotonic() > deadline:
                    raise RuntimeError(f"a worker of the benchmark ended early: {dead or 'no end'}")


def _work(signals, target, arguments):
    ready, go, done = signals

    def begin():
        ready.release()
        go.wait()

    target(begin, *arguments)
    done.release()


def asked(end, message):
    end.send(message)
    if not end.poll(WATCHDOG_S):
        raise RuntimeError("the worker of the benchmark does not answer")
    return end.recv()


class Served:
    """A library with servers or threads, in a process that is started anew: this one forks.

    serve(end) receives a number of operations and sends the seconds that they took, until EOFError.
    The process lives from the first use until close().
    """

    def __init__(self, serve):
        self.serve, self.end, self.process = serve, None, None

    def run(self, operations):
        if self.process is None:
            self.end, there = SPAWN.Pipe()
            self.process = SPAWN.Process(target=self.serve, args=(there,))
            self.process.start()
            there.close()
        return asked(self.end, operations)

    def close(self):
        if self.process is not None:
            self.end.close()
            self.process.join(WATCHDOG_S)
            self.process = None
