// From float32 to quantized blocks, by the kernels for this processor.
#include "blocks_variants.h"
#include "kernel_variants.h"

static const lmoe_block_kernels *now(void) {
#if defined(__x86_64__)
  const lmoe_kernels *kernels = lmoe_kernels_now();
  if (kernels == &lmoe_kernels_avx512) return &lmoe_blocks_avx512;
  if (kernels == &lmoe_kernels_avx2) return &lmoe_blocks_avx2;
#endif
  return &lmoe_blocks_portable;
}

static size_t i8_rows(const lmoe_block_kernels *kernels, const float *values, size_t length, size_t count,
                      uint8_t *blocks) {
  for (size_t row = 0; row < count; row++) kernels->i8_row(values + row * length, length, blocks + row * (4 + length));
  return count;
}

size_t lmoe_quantize(int scheme, size_t block_elements, const float *values, const float *importance, size_t count,
                     void *blocks) {
  const lmoe_block_kernels *kernels = now();
  const size_t whole = block_elements > 0 ? count / block_elements : 0;
  size_t good = 0;
  switch (scheme) {
  case LMOE_Q8_0: good = kernels->q8_0(values, whole, blocks); break;
  case LMOE_Q4_0: good = kernels->q4_0(values, whole, blocks); break;
  case LMOE_Q4_K: good = kernels->q4_k(values, whole, blocks); break;
  case LMOE_Q6_K: good = kernels->q6_k(values, whole, blocks); break;
  case LMOE_I8_ROW: good = i8_rows(kernels, values, block_elements, whole, blocks); break;
  case LMOE_I4_GROUP: good = kernels->i4_group(values, importance, block_elements, whole, blocks); break;
  default: return 0;
  }
  return good < whole ? good * block_elements : count;
}

void lmoe_nf4_absmax(const float *values, size_t count, float *absmax) {
  const lmoe_block_kernels *kernels = now();
  for (size_t start = 0; start < count; start += NF4_RUN) {
    const size_t n = count - start < NF4_RUN ? count - start : NF4_RUN;
    const float largest = kernels->nf4_largest(values + start, n);
    // What bitsandbytes keeps of a part of a run is what it divides by.
    absmax[start / NF4_RUN] = n < NF4_RUN && largest < 1e-38f ? 1e-38f : largest;
  }
}

// torch adds up a row of floats as 4 rows of 8 lanes, in a cascade of four levels; with one thread.
float lmoe_nf4_offset(const float *absmax, size_t count) {
#pragma clang fp contract(off)
  enum { VECTOR = 8, ROWS = 4, ROW = VECTOR * ROWS, LEVELS = 4 };
  const size_t vectors = count / VECTOR, size = vectors / ROWS;
  int bits = 0;
  while (((size_t)1 << bits) < size) bits++;
  const int power = bits / LEVELS > 4 ? bits / LEVELS : 4;
  const size_t step = (size_t)1 << power;
  float levels[LEVELS][ROW] = {{0}};
  size_t i = 0;
  while (i + step <= size) {
    for (size_t j = 0; j < step; j++, i++)
      for (int k = 0; k < ROW; k++) levels[0][k] += absmax[i * ROW + (size_t)k];
    for (int level = 1; level < LEVELS; level++) {
      for (int k = 0; k < ROW; k++) levels[level][k] += levels[level - 1][k], levels[level - 1][k] = 0;
      if (i & ((step - 1) << (level * power))) break;
    }
  }
  for (; i < size; i++)
    for (int k = 0; k < ROW; k++) levels[0][k] += absmax[i * ROW + (size_t)k];
  for (int level = 1; level < LEVELS; level++)
    for (int k = 0; k < ROW; k++) levels[0][k] += levels[level][k];
  float *lanes = levels[0];
  for (size_t v = size * ROWS; v < vectors; v++)
    for (int k = 0; k < VECTOR; k++) lanes[k] += absmax[v * VECTOR + (size_t)k];
  for (int k = VECTOR; k < ROW; k++) lanes[k % VECTOR] += lanes[k];
  float sum = 0;
  for (size_t j = vectors * VECTOR; j < count; j++) sum += absmax[j];
  for (int k = 0; k < VECTOR; k++) sum += lanes[k];
  return count > 0 ? sum / (float)count : 0;
}

float lmoe_nf4_value(int index) { return lmoe_nf4_values[index & 15]; }
float lmoe_dynamic_value(int index) { return lmoe_dynamic_values[index & 255]; }

/// The number of the dynamic map's value for a value from -1 to 1: that of the nearest of 65,536 steps, for so
/// bitsandbytes looks it up.
static uint8_t dynamic_number(float value) {
#pragma clang fp contract(off)
  value = value < -1 ? -1 : value > 1 ? 1 : value;
  const int step = (int)((value + 1.0f) * 0.5f * 65535.0f + 0.5f);
  const float even = -1.0f + 2.0f * (float)step / 65535.0f;
  int low = 0, high = 255;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (0.5f * (lmoe_dynamic_values[middle] + lmoe_dynamic_values[middle + 1]) < even) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return (uint8_t)low;
}

void lmoe_quantize_nf4(const float *values, size_t count, float offset, void *block_) {
#pragma clang fp contract(off)
  const lmoe_block_kernels *kernels = now();
  uint8_t *block = block_;
  memset(block, 0, LMOE_NF4_BYTES);
  memcpy(block, &offset, 4);
  if (count > NF4_RUN * NF4_RUNS) count = NF4_RUN * NF4_RUNS;
  float absmax[NF4_RUNS];
  const size_t runs = (count + NF4_RUN - 1) / NF4_RUN;
  lmoe_nf4_absmax(values, count, absmax);
  float nested = 0;
  for (size_t run = 0; run < runs; run++) {
    const size_t start = run * NF4_RUN, n = count - start < NF4_RUN ? count - start : NF4_RUN;
    kernels->nf4_run(values + start, n, absmax[run], block + NF4_CODES + start / 2);
    absmax[run] -= offset;
    const float size = absmax[run] < 0 ? -absmax[run] : absmax[run];
    nested = size > nested ? size : nested;
  }
  memcpy(block + 4, &nested, 4);
  if (nested == 0) return;
  const float inverse = 1.0f / nested;
  for (size_t run = 0; run < runs; run++) block[8 + run] = dynamic_number(absmax[run] * inverse);
}
