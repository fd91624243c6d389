#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Sets up, builds without a warning, and runs every test; then once more under AddressSanitizer and UBSan.
# The last line is "N passed, N failed".
. "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

# The sanitized build leaves out GIMP (not built with sanitizers), the interpreted checks, and what is only slow there.
sanitized_suites="unit hostile fuzz graph kernels cases cpu golden diffusion train cli protocol"

run_tests () # DIR, suites…
{
  local dir=$1 flags=(); shift
  for suite in "$@"; do flags+=(--suite "$suite"); done
  sumi_enter meson test -C "$dir" --no-rebuild --num-processes 2 --timeout-multiplier 4 --print-errorlogs "${flags[@]}" >&2 || true
}

main ()
{
  sumi_setup
  say "Building"
  sumi_build_and_install --werror
  say "Testing"
  run_tests "$sumi_root/build/main"
  say "Building with AddressSanitizer and UBSan"
  sumi_build "$sumi_root/build/sanitized" --werror -Db_sanitize=address,undefined -Db_lundef=false -Dplugin=disabled
  say "Testing with AddressSanitizer and UBSan"
  run_tests "$sumi_root/build/sanitized" $sanitized_suites
  sumi_enter python3 "$sumi_root/scripts/lib/count-tests.py" "$sumi_root"/build/{main,sanitized}/meson-logs/testlog.json
}

main
