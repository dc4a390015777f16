#!/bin/sh
# Fuzzes the readers of bundles, safetensors and JSON.
#
# Usage: Fuzz/run.sh [RUNS [ENTRY...]]
# Entries: bundle, unchecked, safetensors, json (all of them by default). LMOE_FUZZ_SCRATCH is where the build,
# the corpora and the inputs that crash go. Further options for libFuzzer come from LMOE_FUZZ_OPTIONS.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-100000}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- bundle unchecked safetensors json
scratch=${LMOE_FUZZ_SCRATCH:-.build/fuzz}

export LMOE_FUZZ=1 SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:malloc_context_size=4:quarantine_size_mb=8
# Optimised, with all checks; the sanitizers are in every module. gold cannot link them, lld can.
build() {
  swift build -c release --scratch-path "$scratch" --product FuzzFormats --sanitize=address \
    -Xswiftc -enable-testing -Xswiftc -sanitize=fuzzer -Xcc -fsanitize=fuzzer-no-link -Xswiftc -use-ld=lld "$@"
}
build
fuzzer=$(build --show-bin-path)/FuzzFormats

seeds=$scratch/seeds
if [ ! -d "$seeds" ]; then
  mkdir -p "$seeds/whole" "$seeds/bundle" "$seeds/safetensors" "$seeds/json"
  zstd -dqf --output-dir-flat "$seeds/whole" spec/corpus/*.lmoe.zst
  "$fuzzer" compact "$seeds"/whole/*.lmoe
  mv "$seeds"/whole/*.compact "$seeds/bundle"
  ln -s bundle "$seeds/unchecked"
  find fixtures -name '*.safetensors' -size -64k -exec cp {} "$seeds/safetensors" \;
  find fixtures spec/corpus -name '*.json' -size -64k -exec cp {} "$seeds/json" \;
fi

for entry; do
  mkdir -p "$scratch/corpus/$entry" "$scratch/crashes"
  # A single allocation of 64 MiB is out of all proportion to inputs of this size.
  LMOE_FUZZ_ENTRY=$entry "$fuzzer" -runs="$runs" -max_len=16384 -timeout=10 -malloc_limit_mb=64 \
    -artifact_prefix="$scratch/crashes/$entry-" -print_final_stats=1 ${LMOE_FUZZ_OPTIONS:-} \
    "$scratch/corpus/$entry" "$seeds/$entry"
done
