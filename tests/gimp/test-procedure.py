#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The procedure in a real GIMP without a screen: test-procedure.py PLUGIN STAND-IN-WORKER SUMI"""
import os
import pathlib
import re
import sys

from gimp import Profile, Tap


def check_procedure(tap, plugin, worker):
    profile = Profile(plugin, worker)
    out = profile.path / 'checks'
    script = pathlib.Path(__file__).with_name('procedure.scm').read_text(encoding='utf-8')
    wanted = len(re.findall(r'\(check "', script)) + 2 * len(re.findall(r'^\(check-', script, re.M))
    log = profile.run_script(f'(define OUT "{out}")\n(define XCF "{profile.path}/picture.xcf")\n{script}')
    for line in out.read_text(encoding='utf-8').splitlines() if out.is_file() else []:
        good, name = re.fullmatch(r'(ok|not ok) (.*)', line).groups()
        tap.check(name, good == 'ok')
    tap.check(f'{wanted} checks were made', tap.count == wanted, log)
    tap.check('nothing critical was logged', 'CRITICAL' not in log and 'Localization disabled' not in log, log)


def check_real_model(tap, plugin, sumi, model):
    """The whole way, from a file of weights to a layer."""
    profile = Profile(plugin, f'{sumi} worker')
    log = profile.run_script(f'''
      (let* ((r (plug-in-sumi-text-to-image #:run-mode RUN-NONINTERACTIVE #:model "{model}" #:steps 2 #:seed 4))
             (image (car r)))
        (gimp-file-save RUN-NONINTERACTIVE image "{profile.path}/picture.png"))''')
    picture = profile.path / 'picture.png'
    tap.check('a model draws in GIMP', picture.is_file() and picture.read_bytes().startswith(b'\x89PNG'), log)


def main(plugin, worker, sumi):
    tap = Tap()
    check_procedure(tap, plugin, worker)
    if golden := os.environ.get('SUMI_GOLDEN'):
        check_real_model(tap, plugin, sumi, pathlib.Path(golden).resolve() / 'models/simple-unet.safetensors')
    return tap.end()


sys.exit(main(*sys.argv[1:]))
