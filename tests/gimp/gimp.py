# SPDX-License-Identifier: GPL-3.0-or-later
"""A GIMP profile of its own with the plug-in of this build, and TAP."""
import atexit
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

PATIENCE = 300  # seconds: GIMP from cold on a machine under load


class Profile:
    """plugin: the built program; worker: the command that computes."""

    def __init__(self, plugin, worker):
        self.folder = tempfile.TemporaryDirectory(prefix='sumi-gimp-', ignore_cleanup_errors=True)
        self.path = pathlib.Path(self.folder.name)
        home = self.path / 'plug-ins/sumi-gimp'
        home.mkdir(parents=True)
        (home / 'locale').mkdir()
        (home / 'sumi-gimp').symlink_to(plugin)
        self.env = dict(os.environ, GIMP3_DIRECTORY=str(self.path), HOME=str(self.path), LC_ALL='C.UTF-8',
                        NO_AT_BRIDGE='1', SUMI_WORKER_COMMAND=worker, XDG_CACHE_HOME=str(self.path / 'cache'),
                        XDG_CONFIG_HOME=str(self.path / 'config'), XDG_DATA_HOME=str(self.path / 'data'))

    def run_script(self, text):
        """A Scheme program in GIMP without a screen; everything it printed."""
        script = self.path / 'script.scm'
        script.write_text(text, encoding='utf-8')
        env = {k: v for k, v in self.env.items() if k != 'DISPLAY'}
        done = subprocess.run(['gimp-console-3.0', '-i', '--quit', '--batch-interpreter=plug-in-script-fu-eval',
                               '-b', f'(load "{script}")'],
                              env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
        return done.stdout.decode('utf-8', 'replace')


def wait_until(condition, what, seconds=PATIENCE):
    """What condition () gives as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise TimeoutError(f'waited {seconds} seconds in vain: {what}')


class Screen:
    """A virtual screen, with the keyboard in hand."""

    def __init__(self):
        read, write = os.pipe()
        self.server = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', '1280x900x24', '-nolisten', 'tcp'],
                                       pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.close)
        os.close(write)
        with os.fdopen(read) as pipe:
            self.display = ':' + pipe.readline().strip()

    def command(self, *words):
        done = subprocess.run(words, env=dict(os.environ, DISPLAY=self.display), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        return done.stdout.decode()

    def windows(self, name):
        return self.command('xdotool', 'search', '--onlyvisible', '--name', name).split()

    def focus(self, name):
        """There is no window manager, so nobody else gives the focus."""
        window = wait_until(lambda: self.windows(name), f'window "{name}"')[-1]
        wait_until(lambda: self.has_focus(window), f'the focus of "{name}"')

    def has_focus(self, window):
        if self.command('xdotool', 'getwindowfocus').strip() == window:
            return True
        self.command('xdotool', 'windowfocus', window)
        return False

    def keys(self, *names):
        for name in names:
            self.command('xdotool', 'key', '--clearmodifiers', name)

    def type(self, text):
        self.command('xdotool', 'type', '--delay', '20', text)

    def picture(self, path):
        self.command('import', '-window', 'root', str(path))

    def close(self):
        if self.server.poll() is None:
            self.server.terminate()
            self.server.wait()


class Gimp:
    """GIMP on a screen, with a Script-Fu server to ask it things."""

    def __init__(self, profile, screen):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        serve = (f'(plug-in-script-fu-server #:run-mode RUN-NONINTERACTIVE #:ip "127.0.0.1" #:port {self.port}'
                 f' #:logfile "{profile.path}/server.log")')
        self.log = open(profile.path / 'gimp.log', 'w+b')
        self.process = subprocess.Popen(
            ['gimp-3.0', '--new-instance', '--no-splash', '--batch-interpreter=plug-in-script-fu-eval', '-b', serve],
            env=dict(profile.env, DISPLAY=screen.display), stdout=self.log, stderr=subprocess.STDOUT,
            start_new_session=True)
        atexit.register(self.close)
        wait_until(self.answers, 'GIMP and its Script-Fu server')

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError('GIMP ended:\n' + self.read_log())
        try:
            socket.create_connection(('127.0.0.1', self.port)).close()
            return True
        except OSError:
            return False

    def ask(self, scheme):
        """(worked, the value's text)"""
        with socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE) as s:
            code = scheme.encode()
            s.sendall(b'G' + struct.pack('>H', len(code)) + code)
            reply = s.makefile('rb')
            _, failed, size = struct.unpack('>BBH', reply.read(4))
            return not failed, reply.read(size).decode()

    def start(self, scheme):
        """The same without waiting: call what this gives for the answer."""
        answer = []
        thread = threading.Thread(target=lambda: answer.append(self.ask(scheme)), daemon=True)
        thread.start()

        def result():
            thread.join(PATIENCE)
            if not answer:
                raise TimeoutError(f'no answer to {scheme}')
            return answer[0]
        return result

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode('utf-8', 'replace')

    def close(self):
        """With its plug-ins: the server would outlive it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Tap:
    def __init__(self):
        self.count = self.failures = 0

    def check(self, name, good, detail=''):
        self.count += 1
        self.failures += not good
        print(f'{"ok" if good else "not ok"} {self.count} {name}', flush=True)
        if not good and detail:
            self.note(detail)
        return good

    @staticmethod
    def note(text):
        for line in str(text).splitlines():
            print(f'# {line}', flush=True)

    def end(self):
        print(f'1..{self.count}')
        return 1 if self.failures or not self.count else 0
