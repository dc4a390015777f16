// The quantizers compiled for AVX-512; only called where the processor has it.
#if defined(__x86_64__)
#include "blocks_variants.h"

#include <immintrin.h>
#include <math.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))), apply_to = function)
#define BLOCKS lmoe_blocks_avx512
#include "lanes_avx512.h"

#include "blocks_body.h"
#pragma clang attribute pop
#endif
