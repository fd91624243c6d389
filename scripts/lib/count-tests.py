#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds up Meson's test logs: a TAP program counts as many tests as it has, any other as one.
Prints "N passed, N failed" (", N skipped") last; fails when a test failed or a log holds none."""
import json
import re
import sys

TAP = re.compile(r'^(ok|not ok)\b[^#\n]*(# *skip)?', re.I | re.M)


def count(test):
    """(passed, failed, skipped) of one line of testlog.json"""
    points = TAP.findall(test.get('stdout') or '')
    passed = sum(1 for ok, skip in points if ok.lower() == 'ok' and not skip)
    skipped = sum(1 for ok, skip in points if skip)
    failed = sum(1 for ok, skip in points if ok.lower() == 'not ok')
    if test['result'] == 'SKIP':
        return 0, 0, max(skipped, 1)
    if test['result'] in ('OK', 'EXPECTEDFAIL'):
        return (passed, failed, skipped) if points else (1, 0, 0)
    print(f"failed: {test['name']} ({test['result']})")
    return passed, max(failed, 1), skipped


def main(logs):
    total = [0, 0, 0]
    for log in logs:
        try:
            tests = [json.loads(line) for line in open(log, encoding='utf-8')]
        except OSError:
            tests = []
        if not tests:
            print(f'failed: no test ran for {log}')
            total[1] += 1
        for test in tests:
            total = [a + b for a, b in zip(total, count(test))]
    skipped = f', {total[2]} skipped' if total[2] else ''
    print(f'{total[0]} passed, {total[1]} failed{skipped}')
    return 1 if total[1] or not total[0] else 0


sys.exit(main(sys.argv[1:]))
