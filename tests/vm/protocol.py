"""What the guest says on its console, and the test result that the host makes of it.

Markers, each a line of its own:
  @@BOOT SECONDS                      the guest is up
  @@CASE NAME PASS|FAIL|SKIP REASON   one test case
  @@JUNIT PROGRAM TEXT                a line of the JUnit file of a test program
  @@EXIT CODE SECONDS                 the suite ended; without it nothing that went before counts
Everything else is log, in which ./check finds and adds up lines such as
`verified: 1024 placements`.
"""

import dataclasses
import os
import re
import xml.etree.ElementTree as ET


@dataclasses.dataclass
class Case:
    name: str
    outcome: str  # PASS, FAIL or SKIP
    reason: str = ""


class Report:
    """The cases of one test target, wherever they came from."""

    def __init__(self, suite):
        self.suite = suite
        self.cases = []
        self.exit_code = None
        self._junit = {}

    def add(self, name, outcome, reason=""):
        self.cases.append(Case(name, outcome, reason))

    def read(self, line):
        """Takes one line of the guest; returns its marker's name, or None."""
        # A test program that sees a terminal may colour its lines.
        found = re.fullmatch(r"@@([A-Z]+) ?(.*)", re.sub(r"\x1b\[[0-9;]*m", "", line))
        if not found:
            return None
        marker, rest = found.groups()
        words = rest.split(" ", 2)
        if marker == "CASE":
            self._read_case(words, line)
        elif marker == "JUNIT":
            program, _, text = rest.partition(" ")
            self._junit.setdefault(program, []).append(text)
            if text.strip() == "</testsuites>":
                self._take_junit(program)
        elif marker == "EXIT" and words[0].isdigit():
            self.exit_code = int(words[0])
        return marker

    def _read_case(self, words, line):
        if len(words) >= 2 and words[1] in ("PASS", "FAIL", "SKIP"):
            self.add(*words)
        else:
            self.add("protocol", "FAIL", "torn line: %s" % line)

    def _take_junit(self, program):
        try:
            root = ET.fromstring("\n".join(self._junit.pop(program)))
        except ET.ParseError as error:
            self.add(program, "FAIL", "its JUnit file came out torn: %s" % error)
            return
        for case in root.iter("testcase"):
            name = "%s.%s" % (program, case.get("name"))
            failure = case.find("failure")
            skipped = case.find("skipped")
            if failure is not None:
                self.add(name, "FAIL", failure.get("message", ""))
            elif skipped is not None:
                self.add(name, "SKIP", skipped.get("message", ""))
            else:
                self.add(name, "PASS")

    def finish_guest(self, error):
        """Closes a guest's run. No exit marker, another code than 0, or no case: a failure.

        The emulator's own exit status is no help: it is 0 after a panic too.
        """
        for program in self._junit:
            self.add(program, "FAIL", "its JUnit file was cut off")
        if error:
            self.add("guest_runs_to_its_end", "FAIL", error)
        elif self.exit_code is None:
            self.add("guest_runs_to_its_end", "FAIL", "no @@EXIT marker: the guest died")
        elif self.exit_code != 0 and not self.failed():
            self.add("guest_runs_to_its_end", "FAIL", "the suite ended with %d" % self.exit_code)
        elif not self.cases:
            self.add("guest_runs_to_its_end", "FAIL", "the suite reported no case")

    def failed(self):
        return [case for case in self.cases if case.outcome == "FAIL"]

    def write(self):
        """Leaves the file that Bazel and ./check read; prints the result; returns the status."""
        junit = os.environ.get("XML_OUTPUT_FILE")
        if junit:
            ET.ElementTree(self._junit_root()).write(junit, encoding="utf-8")
        for case in self.cases:
            print("%-4s %s%s" % (case.outcome, case.name, case.reason and ": " + case.reason))
        return 1 if self.failed() or not self.cases else 0

    def _junit_root(self):
        root = ET.Element("testsuites")
        suite = ET.SubElement(root, "testsuite", name=self.suite, tests=str(len(self.cases)))
        for case in self.cases:
            element = ET.SubElement(suite, "testcase", name=case.name)
            if case.outcome == "FAIL":
                ET.SubElement(element, "failure", message=_printable(case.reason))
            elif case.outcome == "SKIP":
                ET.SubElement(element, "skipped", message=_printable(case.reason))
        return root


def _printable(text):
    """XML has no way to write most control characters."""
    return re.sub(r"[^\n\t\x20-\ud7ff\ue000-\ufffd]", "?", text)
