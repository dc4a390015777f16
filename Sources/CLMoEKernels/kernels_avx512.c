// The kernels compiled for AVX-512; only called where the processor has it.
#if defined(__x86_64__)
#include "kernel_variants.h"

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))), apply_to = function)
#define NAME "avx512"
#define KERNELS lmoe_kernels_avx512
#define INTEGERS &lmoe_integers_avx2
#define MORE_NAME "avx512vnni"
#define MORE_KERNELS lmoe_kernels_avx512vnni
#define MORE_INTEGERS &lmoe_integers_avx512vnni
#define TILE_ROWS 12
#define FEW_ROWS 8
#define SOME_ROWS 32
#define ROWS_AT_ONCE 4
#define MOST_VECTORS 16
#define AHEAD 4096
#define ASKS_IN_ORDER 0
#include "lanes_avx512.h"

#include "kernels_body.h"
#pragma clang attribute pop
#endif
