#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""House rules that a compiler does not see: a licence line on top, no way for the core to end the process,
no unfinished marks, every translatable file listed in po/POTFILES, no line over 120 columns."""
import pathlib
import re
import sys

ENDS = re.compile(r'(?<![\w.>"])(abort|exit|_exit|g_error|g_assert|g_assert_not_reached|g_abort)\s*\(')
MARKS = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
GETTEXT = re.compile(r'\b(N?_|C_|ngettext)\s*\("')


def check(root):
    potfiles = root / 'po/POTFILES'
    listed = set(potfiles.read_text().split()) if potfiles.is_file() else set()
    for top in ('core', 'models', 'cli', 'ui', 'plugin', 'tests'):
        for source in sorted(f for f in (root / top).rglob('*') if f.suffix in ('.c', '.h')):
            path = source.relative_to(root).as_posix()
            text = source.read_text(encoding='utf-8')
            if 'SPDX-License-Identifier: GPL-3.0-or-later' not in text.split('\n', 1)[0]:
                yield f'{path}: line 1 has no licence'
            if MARKS.search(text):
                yield f'{path}: unfinished: {MARKS.search(text).group()}'
            if top in ('core', 'models') and (found := ENDS.search(COMMENT.sub('', text))):
                yield f'{path}: may end the process: {found.group()}'
            if top in ('ui', 'plugin') and GETTEXT.search(text) and path not in listed:
                yield f'{path}: has translatable text and is not in po/POTFILES'
            for number, line in enumerate(text.split('\n'), 1):
                if len(line) > 120:
                    yield f'{path}:{number}: {len(line)} columns'


root = pathlib.Path(sys.argv[1]).resolve()
wrong = list(check(root))
print('\n'.join(wrong))
sys.exit(1 if wrong else 0)
