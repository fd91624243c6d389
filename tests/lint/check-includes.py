#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of docs/ARCHITECTURE.md: a folder includes only what lies below it, and each outside library
is seen by one folder only.  Prints every include that breaks this."""
import pathlib
import re
import sys

# folder -> the folders whose headers it may include (itself always)
ALLOWED = {
    'core/base': [],
    'core/tensor': ['core/base'],
    'core/io': ['core/tensor', 'core/base'],
    'core/graph': ['core/tensor', 'core/base'],
    'core/engine': ['core/graph', 'core/tensor', 'core/base'],
    'core/nn': ['core/graph', 'core/tensor', 'core/base'],
    'core/diffusion': ['core/nn', 'core/engine', 'core/graph', 'core/io', 'core/tensor', 'core/base'],
    'core/train': ['core/diffusion', 'core/nn', 'core/engine', 'core/graph', 'core/io', 'core/tensor', 'core/base'],
    'models': ['core'],
    'cli': ['models', 'core'],
    'ui': ['models'],
    'plugin': ['ui', 'core/base'],
}
# header prefix -> the only folders that may include it
OUTSIDE = {
    'dnnl': ['core/engine/cpu'],
    'ggml': ['core/engine/ggml'],
    'libsoup/': ['models'],
    'libgimp': ['plugin'],
    'gegl': ['plugin'],
    'gtk/': ['ui', 'plugin'],
    'gdk-pixbuf/': ['core/io', 'ui', 'plugin', 'cli'],
    'omp.h': ['core'],
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def under(path, folders):
    return any(path == f or path.startswith(f + '/') for f in folders)


def folder_of(path):
    return next((f for f in ALLOWED if under(path, [f])), None)


def target_of(root, source, name):
    """The folder an include in quotes names: beside the file, from core/, or from the top."""
    for base in (source.parent, root / 'core', root):
        if (base / name).is_file():
            return (base / name).resolve().relative_to(root).as_posix()
    return None


def check(root, source):
    path = source.relative_to(root).as_posix()
    home = folder_of(path)
    for kind, name in INCLUDE.findall(source.read_text(encoding='utf-8')):
        if kind == '"':
            target = target_of(root, source, name)
            if target and folder_of(target) not in (None, home) and not under(target, ALLOWED[home]):
                yield f'{path}: includes "{name}": {home} may not see {folder_of(target)}'
        for prefix, folders in OUTSIDE.items():
            if name.startswith(prefix) and kind == '<' and not under(path, folders):
                yield f'{path}: includes <{name}>, which only {", ".join(folders)} may see'


def self_test(tmp):
    """The check itself can fail: one forbidden include of each kind is found."""
    (tmp / 'core/nn').mkdir(parents=True)
    (tmp / 'core/engine').mkdir(parents=True)
    (tmp / 'core/engine/engine.h').write_text('')
    bad = tmp / 'core/nn/bad.c'
    bad.write_text('#include "engine/engine.h"\n#include <dnnl.h>\n#include <gtk/gtk.h>\n')
    return len(list(check(tmp, bad))) == 3


def main():
    import tempfile
    with tempfile.TemporaryDirectory() as tmp:
        if not self_test(pathlib.Path(tmp).resolve()):
            sys.exit('the include check does not find a forbidden include')
    root = pathlib.Path(sys.argv[1]).resolve()
    sources = sorted(f for top in ('core', 'models', 'cli', 'ui', 'plugin') for f in (root / top).rglob('*.[chi]*')
                     if f.suffix in ('.c', '.h', '.inc'))
    wrong = [line for source in sources for line in check(root, source)]
    print('\n'.join(wrong))
    sys.exit(1 if wrong or not sources else 0)


main()
