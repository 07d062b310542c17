#!/usr/bin/env python3
"""Measures Strata beside what Python offers for sharing memory, on this machine, in one run.

usage: bench/python/run.py [TABLE...] [--rounds N] [--quick] [--json FILE] [--svg FILE]
                           [--markdown FILE] [--docs] [--list]

Without a TABLE all are measured, which takes a quarter of an hour on two idle processors. A way
whose library is not installed is named, with the line that installs it; nothing is installed from
here. --docs writes docs/benchmarks-python.md with its chart.
"""

import argparse
import functools
import json
import pathlib
import sys

import attaching
import counters
import dicts
import harness
import lists
import locks
import messages
import objects
import report

TIMED = [
    counters.TABLE,
    messages.TABLE,
    objects.TABLE,
    *locks.TABLES,
    *attaching.TABLES,
    *dicts.TABLES,
]
MEASURES = {table.key: functools.partial(harness.measure, table) for table in TIMED}
MEASURES |= {
    f"lists-{method}": functools.partial(lists.measure, method) for method in lists.METHODS
}
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
HEAD = """# Benchmarks of Python

Written by `bench/python/run.py --docs`. All rows of a table take turns within one run; what counts
is the ratio to the first row, the median over the rounds. A goal that was missed is shown as missed.

![The same as a chart](benchmarks-python.svg)

"""
# Of memory, which varies less than time, and costs seconds.
LIST_ROUNDS = 3


def log(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", metavar="TABLE", nargs="*", help="see --list")
    parser.add_argument("--rounds", type=int, default=11, help="of each table, 11 by default")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a hundredth of the work, in one round: to see that it runs",
    )
    parser.add_argument("--json", metavar="FILE", help="all times, for programs")
    parser.add_argument("--svg", metavar="FILE", help="a chart")
    parser.add_argument("--markdown", metavar="FILE", help="the tables for docs/benchmarks.md")
    parser.add_argument("--docs", action="store_true", help="writes docs/benchmarks-python.md")
    parser.add_argument("--list", action="store_true", help="the tables there are")
    options = parser.parse_args(arguments)
    unknown = set(options.tables) - set(MEASURES)
    if unknown:
        parser.error(f"no table {', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    if options.rounds < 1:
        parser.error(f"--rounds: 1 or more, not {options.rounds}")
    return options


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def write_files(options, results):
    where = report.machine()
    tables = f"{where}\n\n" + "\n".join(map(report.markdown, results))
    if options.json:
        write(options.json, json.dumps({"machine": where, "tables": results}, indent=1))
    if options.svg:
        write(options.svg, report.chart(results, where))
    if options.markdown:
        write(options.markdown, tables)
    if options.docs:
        write(DOCS / "benchmarks-python.svg", report.chart(results, where))
        write(DOCS / "benchmarks-python.md", HEAD + tables)


def main(arguments):
    options = parse(arguments)
    if options.list:
        print("\n".join(MEASURES))
        return
    results = []
    print(report.machine(), flush=True)
    for key in options.tables or MEASURES:
        rounds = LIST_ROUNDS if key.startswith("lists") else options.rounds
        result = MEASURES[key](
            1 if options.quick else min(rounds, options.rounds), 0.01 if options.quick else 1.0, log
        )
        log("")
        results.append(result)
        print("\n" + report.table(result), flush=True)
    write_files(options, results)


if __name__ == "__main__":
    main(sys.argv[1:])
