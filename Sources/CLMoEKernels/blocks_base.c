// The quantizers for the baseline instruction set: SSE2 on x86-64, NEON on arm64.
#include "blocks_variants.h"

#include <math.h>
#define BLOCKS lmoe_blocks_portable
#include "lanes_base.h"

#include "blocks_body.h"
