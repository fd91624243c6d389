#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dialog in a real GIMP on a virtual screen, worked by the keyboard: test-dialog.py PLUGIN WORKER PICTURES
Screenshots go to the folder PICTURES."""
import os
import pathlib
import signal
import sys

from gimp import Gimp, Profile, Screen, Tap, wait_until

DIALOG = '^Text to Image$'
SET_UP = '''(begin
  (define image (car (gimp-image-new 200 100 RGB)))
  (gimp-image-insert-layer image (car (gimp-layer-new image "ground" 200 100 RGB-IMAGE 100 LAYER-MODE-NORMAL)) 0 0)
  (gimp-display-new image)
  (define (layers i) (vector->list (car (gimp-image-get-layers i))))
  (define (names i) (apply string-append (map (lambda (l) (string-append (car (gimp-item-get-name l)) "|")) (layers i))))
  "ready")'''
INTERACTIVE = '(begin (plug-in-sumi-text-to-image #:run-mode RUN-INTERACTIVE #:image image) "done")'


class Session:
    def __init__(self, plugin, worker, pictures):
        self.profile = Profile(plugin, worker)
        self.worker_log = self.profile.path / 'worker.log'
        self.profile.env['SUMI_STAND_IN_LOG'] = str(self.worker_log)
        self.pictures = pathlib.Path(pictures)
        self.screen = Screen()
        self.gimp = Gimp(self.profile, self.screen)
        self.tap = Tap()

    def ask(self, scheme):
        worked, value = self.gimp.ask(scheme)
        if not worked:
            raise RuntimeError(f'{scheme}: {value}')
        return value

    def names(self):
        return self.ask('(names image)').strip('"').split('|')[:-1]

    def count(self):
        """Of layers, by one call: safe while GIMP is undoing."""
        return int(self.ask('(length (layers image))'))

    def images(self):
        return int(self.ask('(length (vector->list (car (gimp-get-images))))'))

    def worker_says(self, what):
        lines = self.worker_log.read_text().splitlines() if self.worker_log.is_file() else []
        return [line for line in lines if line.startswith(what)]

    def shot(self, name):
        self.screen.picture(self.pictures / f'dialog-{name}.png')

    def open_dialog(self, scheme=INTERACTIVE):
        answer = self.gimp.start(scheme)
        self.screen.focus(DIALOG)
        return answer


def check_generate(s):
    answer = s.open_dialog()
    s.screen.type('a red fox')  # the prompt has the focus
    s.shot('prompt')
    s.screen.keys('ctrl+Return')
    worked, value = answer()
    s.tap.check('Ctrl+Enter generates', worked, value)
    names = s.names()
    s.tap.check('a layer named after the prompt', len(names) == 2 and names[0].startswith('a red fox (seed '), names)


def check_last_values(s):
    s.ask('(begin (plug-in-sumi-text-to-image #:run-mode RUN-WITH-LAST-VALS #:image image) "done")')
    names = s.names()
    s.tap.check('the last values draw again', len(names) == 3 and names[0].startswith('a red fox (seed '), names)


def check_undo(s):
    for left in (2, 1):
        s.screen.focus('GIMP$')
        s.screen.keys('ctrl+z')
        wait_until(lambda left=left: s.count() == left, f'undo to {left} layers')
        s.tap.check(f'one undo, one layer less: {left}', s.count() == left)
    s.tap.check('what was there stays', s.names() == ['ground'])


def start_slowly(s):
    answer = s.open_dialog()
    s.screen.keys('alt+o', 'ctrl+a')
    s.screen.type('slow')
    runs = len(s.worker_says('run slow'))
    s.screen.keys('ctrl+Return')
    wait_until(lambda: len(s.worker_says('run slow')) > runs, 'the worker to start')
    return answer


def check_cancel(s):
    answer = start_slowly(s)
    s.shot('running')
    s.screen.keys('Escape')
    wait_until(lambda: s.worker_says('cancelled'), 'the worker to stop', 20)  # of the minute it would take
    s.tap.check('Cancel stops the worker', True)
    s.tap.check('the dialog stays', bool(s.screen.windows(DIALOG)))
    s.shot('cancelled')
    s.screen.keys('ctrl+Return')  # the same dialog can start again
    wait_until(lambda: len(s.worker_says('run slow')) == 2, 'the worker to start again')
    s.screen.keys('Escape')
    wait_until(lambda: len(s.worker_says('cancelled')) == 2, 'the worker to stop again', 20)
    s.screen.keys('Escape')
    answer()
    s.tap.check('Cancel leaves no layer', s.names() == ['ground'], s.names())


def check_error(s):
    answer = s.open_dialog()
    s.screen.keys('alt+o', 'ctrl+a')
    s.screen.type('nonsense')
    s.screen.keys('ctrl+Return')
    wait_until(lambda: s.worker_says('run nonsense'), 'the worker to refuse')
    s.shot('error')
    s.tap.check('an error leaves the dialog open', bool(s.screen.windows(DIALOG)))
    s.screen.keys('Escape')
    answer()
    s.tap.check('an error leaves no layer', s.names() == ['ground'], s.names())


def alive(pid):
    try:
        os.kill(pid, 0)
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def check_killed(s):
    """What GIMP's own Cancel does to a plug-in."""
    before = s.names()
    answer = start_slowly(s)
    worker, plug_in = map(int, s.worker_says('run slow')[-1].split()[2:])
    os.kill(plug_in, signal.SIGKILL)
    wait_until(lambda: not alive(worker), 'the worker to end with its plug-in', 20)
    s.tap.check('a killed plug-in takes its worker along', True)
    answer()
    s.tap.check('a killed plug-in leaves no layer', s.names() == before, s.names())


def check_new_image(s):
    before = s.images()
    answer = s.open_dialog('(begin (define r (plug-in-sumi-text-to-image #:run-mode RUN-INTERACTIVE)) "done")')
    s.shot('no-image')
    s.screen.keys('ctrl+Return')  # the prompt of last time
    worked, value = answer()
    s.tap.check('without an image: a new one', worked, value)
    after = s.images()
    s.tap.check('and it is open', after == before + 1, f'{before} {after}')


def main(plugin, worker, pictures):
    s = Session(plugin, worker, pictures)
    try:
        s.ask(SET_UP)
        for check in (check_generate, check_last_values, check_undo, check_cancel, check_error, check_new_image,
                      check_killed):
            check(s)
    except (TimeoutError, RuntimeError) as error:
        s.shot('failed')
        s.tap.check('no surprise', False, f'{error}\n{s.gimp.read_log()}')
    s.tap.check('nothing critical was logged', 'sumi-gimp:' not in s.gimp.read_log(), s.gimp.read_log())
    return s.tap.end()


sys.exit(main(*sys.argv[1:]))
