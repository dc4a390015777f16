// The quantizers compiled for AVX2 and F16C; only called where the processor has them.
#if defined(__x86_64__)
#include "blocks_variants.h"

#include <immintrin.h>
#include <math.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#define BLOCKS lmoe_blocks_avx2
#include "lanes_avx2.h"

#include "blocks_body.h"
#pragma clang attribute pop
#endif
