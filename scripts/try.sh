#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# From nothing to a picture drawn inside real GIMP:  scripts/try.sh "a red apple"
# Leaves an XCF (with the layer and its recipe) and a PNG, and says where.  With a display, GIMP opens on it.
. "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

prompt=${1:-a red apple}
seed=${SUMI_SEED:-1}
pictures=$sumi_root/build/pictures
name=$(printf '%s' "$prompt" | tr -cs '[:alnum:]' '-' | cut -c1-60 | sed 's/^-*//; s/-*$//')
xcf=$pictures/${name:-picture}-$seed.xcf
png=${xcf%.xcf}.png

scheme_string () { printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

draw_in_gimp ()
{
  # The procedure makes a new image when there is none; both files are written by GIMP itself.
  sumi_enter gimp-console-3.0 -i --quit --batch-interpreter=plug-in-script-fu-eval -b "
    (let* ((image (car (plug-in-sumi-text-to-image #:run-mode RUN-NONINTERACTIVE
                          #:prompt $(scheme_string "$prompt") #:seed $seed))))
      (gimp-file-save RUN-NONINTERACTIVE image $(scheme_string "$xcf"))
      (gimp-file-save RUN-NONINTERACTIVE image $(scheme_string "$png")))" >"$pictures/gimp.log" 2>&1 || true
  [ -s "$xcf" ] && [ -s "$png" ] || { cat "$pictures/gimp.log" >&2; fail "GIMP made no picture; its output is above"; }
}

sumi_setup
say "Building"
sumi_build_and_install
say "Drawing “$prompt” inside GIMP"
mkdir -p "$pictures"
rm -f "$xcf" "$png"
draw_in_gimp
echo "$xcf"
echo "$png"
if [ -n "${DISPLAY:-}" ]; then
  say "Opening GIMP"
  sumi_enter gimp-3.0 --new-instance "$xcf" >"$pictures/gimp.log" 2>&1 &
fi
