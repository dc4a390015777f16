#!/usr/bin/env bash
# Runs the tests with the kernels for AVX-512 on a processor that has AVX2 alone: SIMDe computes their instructions.
#
# Usage: Emulation/run.sh [options of swift test], for example --filter Kernel; all tests by default.
# Needs SIMDe (Debian: libsimde-dev). LMOE_EMULATION_SCRATCH is where a copy of the sources and the build go.
# What it cannot say is how fast those kernels are, and where a processor stops at an address: loads are unaligned here.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=${LMOE_EMULATION_SCRATCH:-$PWD/.build/emulation}
simde=$(printf '#include <simde/x86/avx512.h>\n' | clang -xc -M - | tr ' ' '\n' | grep 'simde/x86/avx512\.h$') || {
  echo "SIMDe is missing: apt-get install libsimde-dev" >&2
  exit 1
}
rm -rf "$scratch/package"
mkdir -p "$scratch/package" "$scratch/include"

# Without the targets that let the compiler use the instructions themselves, and with all kernels for any processor.
git ls-files -z --cached --others --exclude-standard | tar -cf - --null --ignore-failed-read -T - | tar -xf - -C "$scratch/package"
kernels=$scratch/package/Sources/CLMoEKernels
sed -i '/^#pragma clang attribute/d' $(grep -l '^#pragma clang attribute.*avx512' "$kernels"/*.c)
sed -i 's/^static int can_run(.*{$/&\n  if (kernels) return 1;/' "$kernels/gemm.c"
grep -q 'if (kernels) return 1;' "$kernels/gemm.c"

# <immintrin.h> becomes the compiler's with what the kernels call by other names.
header=$scratch/include/immintrin.h
{
  echo '#pragma once'
  echo '#include_next <immintrin.h>'
  printf '#include <%s>\n' string.h simde/x86/avx512.h
  for type in __m512 __m512i __m512d; do echo "#define $type simde$type"; done
  cat Emulation/avx512.h
  grep -rhoE '_mm(256|512)?_[a-z0-9_]+' "$kernels"/*avx512* | sort -u | while read -r name; do
    if grep -q "emulated$name\b" Emulation/avx512.h; then
      echo "#undef $name"
      echo "#define $name emulated$name"
    elif grep -rqE "(^| )simde$name ?\(" "$(dirname "$simde")/avx512"; then
      echo "#undef $name"
      echo "#define $name simde$name"
    elif [[ $name =~ _mm512_|_mask ]]; then
      echo "SIMDe lacks $name: write emulated$name in Emulation/avx512.h." >&2
      exit 1
    fi
  done
} >"$header.new"
cmp -s "$header.new" "$header" && rm "$header.new" || mv "$header.new" "$header"

cd "$scratch/package"
flags=()
for flag in "-I$scratch/include" -mavx2 -mfma -mf16c -mbmi2 -w; do flags+=(-Xcc "$flag"); done
export SWIFT_BACKTRACE=enable=no
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH="${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-$(getconf _NPROCESSORS_ONLN)}"
swift test -c release --scratch-path "$scratch/build" "${flags[@]}" "$@"
