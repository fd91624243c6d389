#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Trains the starter model again, from the pictures on:  scripts/starter/train.sh [FURTHER OPTIONS OF sumi train]
# Everything lies in one folder outside the checkout (SUMI_STARTER_DIR).  Stop it with Ctrl-C and run it again: it goes on.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/environment.sh"

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

# Names and keywords of the Unicode CLDR, from the Debian package; a fresh system knows its packages only after an update.
fetch_names ()
{
  [ -d "$work/cldr" ] && return
  sumi_enter bash -euc '
    cd "$1"
    get () { apt-get -q -o APT::Sandbox::User=root download unicode-cldr-core; }
    get || { apt-get -q update && get; }
    dpkg -x unicode-cldr-core_*.deb cldr.partial
    mv cldr.partial cldr' bash "$work" >&2
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
# Brain floats where the processor multiplies them; the first run's settings are kept in the checkpoint.
dtype=f32
! grep -qw avx512_bf16 /proc/cpuinfo || dtype=bf16
settings=(--config "$sumi_root/scripts/starter/starter.json" --steps 16500 --batch 32 --lr 6e-4 --lr-end 2e-5 --warmup 300
  --ema 0.999 --min-snr 0 --caption-dropout 0.1 --seed 7 --dtype "$dtype" --save-every 0 --save-minutes 4)
[ ! -f "$work/starter.ckpt.safetensors" ] || settings=(--resume "$work/starter.ckpt.safetensors")
say "Training"
sumi_enter sumi train ddpm --data "$pictures" --output "$model" "${settings[@]}" "$@"
say "How often a name draws its own picture"
sumi_enter sumi eval nearest --model "$model" --data "$pictures"
echo "$model"
