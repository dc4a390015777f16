// The kernels compiled for AVX2, FMA and F16C; only called where the processor has them.
#if defined(__x86_64__)
#include "kernel_variants.h"

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#define NAME "avx2"
#define LANES_ARE_FEW 1
#define KERNELS lmoe_kernels_avx2
#define INTEGERS &lmoe_integers_avx2
#define TILE_ROWS 6
#define FEW_ROWS 8
#define SOME_ROWS 32
#define ROWS_AT_ONCE 3
#define MOST_VECTORS 8
#define AHEAD 4096
#define ASKS_IN_ORDER 1
#include "lanes_avx2.h"

#include "kernels_body.h"
#pragma clang attribute pop
#endif
