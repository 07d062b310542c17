#!/usr/bin/env python3
"""Closes test runs on their counts, from the build event file of each `bazel test`.

usage: test_summary.py EVENTS_JSON...

The last line is `N passed, N failed, N skipped`, in test cases. A target that did not build,
crashed, timed out or recorded no case counts as one failure, and so does each source that the
aspect of tidy.bzl refused. The exit status is 1 if anything failed or nothing passed. Not a glob
of bazel-testlogs: that would count the logs of earlier runs.

A test may print lines such as `verified: 412 kill points`; they are summed by what they count and
printed above the last line.
"""

import argparse
import collections
import json
import os
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ET

# The actions of tidy.bzl.
CHECKS_OF_SOURCES = {"ClangTidy": "clang-tidy", "CompileAlone": "compile alone"}
VERIFIED = re.compile(r"^verified: (\d+) (.+)$")


def local_path(uri):
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def count_cases(junit_path):
    """[passed, failed, skipped] of a JUnit file, and why each case was skipped."""
    counts, reasons = [0, 0, 0], []
    try:
        root = ET.parse(junit_path).getroot()
    except (OSError, ET.ParseError):
        return counts, reasons
    for case in root.iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts[1] += 1
        elif skipped is not None:
            counts[2] += 1
            reasons.append("%s: %s" % (case.get("name"), skipped.get("message") or "no reason given"))
        else:
            counts[0] += 1
    return counts, reasons


def verified_lines(log_path):
    try:
        with open(log_path, errors="replace") as log:
            for line in log:
                match = VERIFIED.match(line.rstrip())
                if match:
                    yield int(match.group(1)), match.group(2)
    except OSError:
        return


def read_events(path):
    """The test targets of the run, the last attempt of each of their runs and shards, and what the
    checks of sources refused."""
    targets, results, refused = set(), {}, set()
    with open(path) as events:
        for line in events:
            event = json.loads(line)
            ident = event["id"]
            if "targetConfigured" in ident and event.get("configured", {}).get("testSize"):
                targets.add(ident["targetConfigured"]["label"])
            elif "testResult" in ident and "testResult" in event:
                run = ident["testResult"]
                key = (run["label"], run.get("run", 1), run.get("shard", 1))
                attempt = run.get("attempt", 1)
                if key not in results or results[key][0] <= attempt:
                    results[key] = (attempt, event["testResult"])
            elif "actionCompleted" in ident and not event["action"].get("success"):
                check = CHECKS_OF_SOURCES.get(event["action"].get("type"))
                if check:
                    refused.add("%s %s" % (check, ident["actionCompleted"]["primaryOutput"]))
    return targets, {key: result for key, (_, result) in results.items()}, refused


def summarise(path, verified):
    """Prints what became of each target of one run; [passed, failed, skipped] of all."""
    targets, results, refused = read_events(path)
    total = [0, 0, 0]
    for (label, _, _), result in sorted(results.items()):
        targets.discard(label)
        outputs = {o["name"]: local_path(o["uri"]) for o in result.get("testActionOutput", []) if "uri" in o}
        counts, reasons = count_cases(outputs.get("test.xml", ""))
        # Bazel's own file for a crashed test names one case that did not fail.
        if sum(counts) == 0 or (result.get("status") not in ("PASSED", "FLAKY") and counts[1] == 0):
            counts[1] += 1
        for count, what in verified_lines(outputs.get("test.log", "")):
            verified[what] += count
        print("%-48s %-8s %3d passed, %d failed, %d skipped" % (label, result.get("status"), *counts))
        for reason in reasons:
            print("    skipped %s" % reason)
        total = [a + b for a, b in zip(total, counts)]
    for label in sorted(targets):
        print("%-48s NOT RUN" % label)
        total[1] += 1
    for each in sorted(refused):
        print("%-48s REFUSED" % each)
        total[1] += 1
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("events", nargs="+")
    args = parser.parse_args()

    total = [0, 0, 0]
    verified = collections.Counter()
    for path in args.events:
        if len(args.events) > 1:
            print("== %s" % os.path.basename(path))
        total = [a + b for a, b in zip(total, summarise(path, verified))]
    for what, count in sorted(verified.items()):
        print("verified: %d %s" % (count, what))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
