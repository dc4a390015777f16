// The kernels for the baseline instruction set: SSE2 on x86-64, NEON on arm64.
#include "kernel_variants.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#define NAME "portable"
#define KERNELS lmoe_kernels_portable
#define INTEGERS &lmoe_integers_portable
#define FEW_ROWS 4
#define SOME_ROWS 4
#define MOST_VECTORS 8
#define AHEAD 4096
#define ASKS_IN_ORDER 0
#if defined(__aarch64__)
#define TILE_ROWS 8
#define ROWS_AT_ONCE 4
#else
#define TILE_ROWS 4
#define ROWS_AT_ONCE 2
#endif
#include "lanes_base.h"

#include "kernels_body.h"
