#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The procedure in a real GIMP without a screen: test-procedure.py PLUGIN WORKER"""
import pathlib
import re
import sys

from gimp import Profile, Tap


def main(plugin, worker):
    profile = Profile(plugin, worker)
    out = profile.path / 'checks'
    script = pathlib.Path(__file__).with_name('procedure.scm').read_text(encoding='utf-8')
    wanted = len(re.findall(r'\(check "', script)) + 2 * len(re.findall(r'^\(check-', script, re.M))
    log = profile.run_script(f'(define OUT "{out}")\n(define XCF "{profile.path}/picture.xcf")\n{script}')

    tap = Tap()
    for line in out.read_text(encoding='utf-8').splitlines() if out.is_file() else []:
        good, name = re.fullmatch(r'(ok|not ok) (.*)', line).groups()
        tap.check(name, good == 'ok')
    tap.check(f'{wanted} checks were made', tap.count == wanted, log)
    tap.check('nothing critical was logged', 'CRITICAL' not in log and 'Localization disabled' not in log, log)
    return tap.end()


sys.exit(main(*sys.argv[1:]))
