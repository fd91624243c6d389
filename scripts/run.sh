#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs a command in Sumi's environment with the latest build on PATH and the plug-in visible to GIMP:
#   scripts/run.sh sumi --version
#   scripts/run.sh gimp-console-3.0 --version
. "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"
[ $# -gt 0 ] || { echo "usage: scripts/run.sh COMMAND [ARGUMENT…]" >&2; exit 2; }
sumi_setup
mkdir -p "$sumi_root/build"
sumi_build_and_install 2>"$sumi_root/build/build.log" || { cat "$sumi_root/build/build.log" >&2; fail "the build failed"; }
sumi_enter "$@"
