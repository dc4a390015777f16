// XXH3 compiled for AVX2; only called where the processor has it.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#include <stdlib.h>
#include <assert.h>
#include <limits.h>
#pragma clang attribute push(__attribute__((target("avx2,bmi2"))), apply_to = function)
#define XXH_VECTOR 2
#define NAME(x) lmoe_avx2_##x
#include "checksum_body.h"
#pragma clang attribute pop
#endif
