#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Searches with libFuzzer, under AddressSanitizer and UBSan, for inputs that the parsers do not bear:
#   scripts/fuzz.sh SECONDS [TARGET…]
# Each target (tests/fuzz/fuzz-TARGET.c; all by default) runs for so long.  What it finds goes into its corpus, where the
# ordinary tests run it from then on; what it learns on the way is kept in build/fuzz-corpus.
. "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

fuzz_build=$sumi_root/build/fuzz

# Clang is needed for nothing else, so it is installed only here.
setup_clang ()
{
  sumi_enter sh -c 'command -v clang && ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a /usr/lib/llvm-*/lib/libomp.so' \
    >/dev/null 2>&1 && return
  say "Installing clang"
  if [ "$sumi_environment" = root ]; then
    sumi_enter sh -c 'apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"' \
      sh clang libclang-rt-dev libomp-dev >&2
  else apt_install clang libclang-rt-dev libomp-dev
  fi
}

build_fuzzers () # TARGET…
{
  [ -f "$fuzz_build/build.ninja" ] || sumi_enter env CC=clang meson setup "$fuzz_build" "$sumi_root" -Dlibfuzzer=true \
    -Db_sanitize=address,undefined -Db_lundef=false -Dplugin=disabled >&2
  sumi_enter ninja -C "$fuzz_build" "${@/#/tests/fuzz/libfuzzer-}" >&2
}

run_target () # SECONDS TARGET
{
  local corpus=$sumi_root/tests/fuzz/corpus/$2 learnt=$sumi_root/build/fuzz-corpus/$2
  mkdir -p "$learnt"
  say "Searching: $2, $1 s"
  sumi_enter env SUMI_DATADIR="$sumi_root/data" ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$fuzz_build/tests/fuzz/libfuzzer-$2" -max_total_time="$1" -max_len=65536 -timeout=20 -rss_limit_mb=1024 \
    -print_final_stats=1 -verbosity=1 -artifact_prefix="$corpus/" "$learnt" "$corpus"
}

main ()
{
  [ $# -gt 0 ] || { echo "usage: scripts/fuzz.sh SECONDS [TARGET…]" >&2; exit 2; }
  local seconds=$1 found=0 target; shift
  [ $# -gt 0 ] || set -- $(cd "$sumi_root/tests/fuzz" && ls fuzz-*.c | sed 's/^fuzz-//; s/\.c$//')
  sumi_setup
  setup_clang
  build_fuzzers "$@"
  for target; do
    run_target "$seconds" "$target" || { say "$target: found something, see tests/fuzz/corpus/$target"; found=1; }
  done
  return $found
}

main "$@"
