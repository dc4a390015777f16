// The layouts of quantized blocks, and what their kernels share.
#ifndef LMOE_BLOCKS_H
#define LMOE_BLOCKS_H
#include "CLMoEKernels.h"

#include <string.h>

/// Sizes of parts of NF4: elements under one 8-bit scale, and such runs in a block.
enum { NF4_RUN = 64, NF4_RUNS = 256, NF4_CODES = 4 + 4 + NF4_RUNS };

/// The sixteen values of NF4, ascending.
extern const float lmoe_nf4_values[16];
/// The 256 values of the 8-bit dynamic map, ascending.
extern const float lmoe_dynamic_values[256];

static inline float float_at(const uint8_t *bytes) {
  float value;
  memcpy(&value, bytes, 4);
  return value;
}

/// Exact for every f16; infinities and NaNs stay what they are.
static inline float half_at(const uint8_t *bytes) {
  uint16_t half;
  memcpy(&half, bytes, 2);
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
  // Subnormals and normals alike: the bits placed as a tiny float, then scaled by 2^112.
  uint32_t wide = rest << 13, bits;
  float scaled;
  memcpy(&scaled, &wide, 4);
  scaled *= 0x1p112f;
  memcpy(&bits, &scaled, 4);
  bits = sign | (rest >= 0x7C00 ? 0x7F800000u | wide : bits);
  memcpy(&scaled, &bits, 4);
  return scaled;
}

/// The six bits each of scale and minimum of sub-block `j` < 8 of a Q4_K block's 12 bytes of scales.
static inline void q4_k_scales(const uint8_t *scales, int j, int *scale, int *minimum) {
  if (j < 4) {
    *scale = scales[j] & 63;
    *minimum = scales[j + 4] & 63;
  } else {
    *scale = (scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4;
    *minimum = scales[j + 4] >> 4 | (scales[j] >> 6) << 4;
  }
}

#endif
