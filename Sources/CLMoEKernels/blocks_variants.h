// The quantizers of one instruction set. Each set has a translation unit that includes blocks_body.h, and all
// give the same bytes.
#ifndef LMOE_BLOCKS_VARIANTS_H
#define LMOE_BLOCKS_VARIANTS_H
#include "blocks.h"

typedef struct {
  /// Each quantizes `count` blocks. They return how many of them have scales that a half can hold, from the first.
  size_t (*q8_0)(const float *values, size_t count, uint8_t *blocks);
  size_t (*q4_0)(const float *values, size_t count, uint8_t *blocks);
  size_t (*q4_k)(const float *values, size_t count, uint8_t *blocks);
  size_t (*q6_k)(const float *values, size_t count, uint8_t *blocks);
  size_t (*i4_group)(const float *values, const float *importance, size_t group, size_t count, uint8_t *blocks);
  void (*i8_row)(const float *values, size_t length, uint8_t *block);
  /// max |values[i]| of up to NF4_RUN values.
  float (*nf4_largest)(const float *values, size_t count);
  /// Packs up to NF4_RUN values, of which `largest` is the largest.
  void (*nf4_run)(const float *values, size_t count, float largest, uint8_t *quants);
} lmoe_block_kernels;

extern const lmoe_block_kernels lmoe_blocks_portable, lmoe_blocks_avx2, lmoe_blocks_avx512;

#endif
