#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Draws a model's sample sheet, one picture a prompt, none chosen by hand:  scripts/starter/sheet.sh OUT.png [MODEL]
. "$(dirname "${BASH_SOURCE[0]}")/../lib/environment.sh"

[ $# -ge 1 ] || { echo "usage: scripts/starter/sheet.sh OUT.png [MODEL]" >&2; exit 2; }
out=$1 model=${2:-starter}
sumi_setup
sumi_build_and_install
pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT
arguments=()
n=100
while read -r prompt; do
  n=$((n + 1))
  sumi_enter sumi generate --quiet --model "$model" --prompt "$prompt" --seed 1 --output "$pictures/$n.png"
  arguments+=(-label "$prompt" "$pictures/$n.png")
done <"$sumi_root/scripts/starter/prompts.txt"
sumi_enter montage -font DejaVu-Sans -pointsize 11 "${arguments[@]}" -tile 8x -geometry 128x128+6+6 "$out"
