#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Trains the starter model again, from the pictures on:  scripts/starter/train.sh [STEPS] [FURTHER OPTIONS OF sumi train]
# Everything lies in one folder outside the checkout (SUMI_STARTER_DIR).  Stop it with Ctrl-C and run it again: it goes on.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/environment.sh"

steps=${1:-30000}
[ $# -eq 0 ] || shift
work=${SUMI_STARTER_DIR:-$sumi_cache/starter}
pictures=$work/pictures
model=$work/starter.safetensors

# Microsoft's Fluent emoji (MIT), as the npm package that carries them in one size.
fetch_pictures ()
{
  [ -d "$work/fluent" ] && return
  command -v npm >/dev/null || apt_install npm
  (cd "$work" && npm pack --silent @lobehub/fluent-emoji-3d@1.1.0 && mkdir -p fluent.partial \
    && tar -xzf lobehub-fluent-emoji-3d-1.1.0.tgz -C fluent.partial --strip-components=1 && mv fluent.partial fluent) >&2
}

# Names and keywords of the Unicode CLDR, from the Debian package.
fetch_names ()
{
  [ -d "$work/cldr" ] && return
  sumi_enter bash -c 'cd "$1" && apt-get -q -o APT::Sandbox::User=root download unicode-cldr-core && dpkg -x unicode-cldr-core_*.deb cldr.partial \
    && mv cldr.partial cldr' bash "$work" >&2
}

sumi_setup
mkdir -p "$work"
say "Building"
sumi_build_and_install
say "Preparing pictures and captions in $work"
fetch_pictures
fetch_names
[ -f "$pictures/metadata.jsonl" ] \
  || python3 "$sumi_root/scripts/starter/prepare.py" "$work/fluent/assets" "$work/cldr/usr/share/unicode/cldr/common" "$pictures" >&2
resume=()
[ ! -f "$work/starter.ckpt.safetensors" ] || resume=(--resume "$work/starter.ckpt.safetensors")
say "Training for $steps steps"
sumi_enter sumi train ddpm --data "$pictures" --config "$sumi_root/scripts/starter/starter.json" --output "$model" \
  --steps "$steps" "${resume[@]}" "$@"
echo "$model"
