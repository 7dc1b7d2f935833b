#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the tests of one or more meson builds from what meson itself knows.

summarize.py NAME:ok|failed:SUITES:BUILDDIR...

A build that failed counts as one failed test. A test of SUITES that meson lists but has no result for (the
run was cut short) counts as failed. Prints failures and skipped tests with their reason, then one line of
counts; exits 1 if anything failed.
"""

import json
import os
import re
import subprocess
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def read_results(build_dir):
    """{test name: (result, output)} of the last `meson test`."""
    results = {}
    path = os.path.join(build_dir, "meson-logs", "testlog.json")
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            for line in log:
                test = json.loads(line)
                output = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
                results[plain_name(test["name"])] = (test["result"], output)
    except FileNotFoundError:
        pass
    return results


def plain_name(name):
    """A test's own name: the log has 'project:suite / name', the list has 'name'."""
    return name.split(" / ")[-1]


def list_tests(build_dir, suites):
    """Names of the tests in suites, as meson lists them."""
    text = subprocess.run(
        ["meson", "introspect", "--tests", build_dir],
        capture_output=True, text=True, check=True).stdout
    return [
        test["name"] for test in json.loads(text)
        if any(suite.split(":")[-1] in suites for suite in test["suite"])
    ]


def skip_reason(output):
    """The last line that gives a reason, in our scripts' form or in TAP's."""
    found = re.findall(r"(?mi)^skip: (.*)$|# *SKIP\S*[ :]*(.*)$", output)
    return "".join(found[-1]).strip() if found else "no reason given"


def failure_reason(result, output):
    """The line that says most about a failure."""
    found = re.findall(r"(?m)^(?:FAILED: .*|not ok .*|.*ERROR:.*|.*runtime error.*|SUMMARY: .*)$", output)
    return f"{result.lower()}{': ' + found[0].strip() if found else ''}"


def summarize_build(name, suites, build_dir, counts, notes):
    """Adds one build's tests to counts and notes."""
    results = read_results(build_dir)
    for test in list_tests(build_dir, suites):
        result, output = results.get(test, ("no result", ""))
        if result in PASSED:
            counts["passed"] += 1
        elif result in SKIPPED:
            counts["skipped"] += 1
            notes.append(f"skipped: {name}/{test}: {skip_reason(output)}")
        else:
            counts["failed"] += 1
            notes.append(f"FAILED: {name}/{test}: {failure_reason(result, output)}")


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    notes = []
    for report in sys.argv[1:]:
        name, built, suites, build_dir = report.split(":", 3)
        if built == "ok":
            summarize_build(name, suites.split(), build_dir, counts, notes)
        else:
            counts["failed"] += 1
            notes.append(f"FAILED: {name}: the build itself")
    for note in sorted(notes, key=lambda note: note.startswith("FAILED")):
        print(note)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
