#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Every text of the sources is translated in every language of LINGUAS:  check.sh SOURCE-ROOT
set -eu
cd "$1"
template=$(mktemp)
trap 'rm -f "$template"' EXIT
xgettext --files-from=po/POTFILES --from-code=UTF-8 --keyword=_ --keyword=N_ --output="$template"
for language in $(cat po/LINGUAS); do
  msgfmt --check --output-file=/dev/null "po/$language.po"
  msgcmp "po/$language.po" "$template"
done
