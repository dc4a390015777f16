// Rows of x in fifteen bits: what quantized weights are multiplied with.
#include "integers.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) && !__has_feature(thread_sanitizer)
#define KERNEL __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define KERNEL
#endif
#pragma clang fp contract(off)

integer_form lmoe_integer_form(int scheme, size_t block) {
  switch (scheme) {
    case LMOE_Q8_0: return FORM_Q8_0;
    case LMOE_Q4_0: return FORM_Q4_0;
    case LMOE_Q4_K: return FORM_Q4_K;
    case LMOE_Q6_K: return FORM_Q6_K;
    case LMOE_I8_ROW: return FORM_I8_ROW;
    case LMOE_I4_GROUP: return block == 32 ? FORM_I4_32 : block == 64 ? FORM_I4_64 : FORM_I4_128;
    default: return FORMS;
  }
}

int lmoe_has_integers(int scheme, size_t block) { return lmoe_integer_form(scheme, block) != FORMS; }

size_t lmoe_integer_row_bytes(size_t depth) {
  size_t padded = x_padded(depth);
  size_t bytes = 2 * padded + padded / X_RUN * sizeof(float) + padded / X_PART * sizeof(int32_t);
  return (bytes + 63) / 64 * 64;
}

enum { SMALLEST_EXPONENT = 127 - 100 };

typedef float run_floats __attribute__((vector_size(4 * X_RUN)));
typedef int32_t run_integers __attribute__((vector_size(4 * X_RUN)));
typedef int32_t part_integers __attribute__((vector_size(4 * X_PART)));
typedef int8_t run_bytes __attribute__((vector_size(X_RUN)));

/// One run of X_RUN elements.
static inline __attribute__((always_inline)) void one_run(const float *x, int8_t *high, int8_t *low, float *scale,
                                                          int32_t *sum) {
  run_floats values;
  memcpy(&values, x, sizeof values);
  // Magnitudes compare as their bits do.
  const int32_t largest = __builtin_reduce_max((run_integers)values & 0x7FFFFFFF);
  float top;
  memcpy(&top, &largest, 4);
  if (largest >= 0x7F800000 || largest < SMALLEST_EXPONENT << 23) {
    *scale = largest >= 0x7F800000 ? NAN : 0;
    memset(high, 0, X_RUN);
    memset(low, 0, X_RUN);
    memset(sum, 0, sizeof *sum * X_RUN / X_PART);
    return;
  }
  *scale = top / (float)LARGEST;
  // Adding 1.5 * 2^23 rounds to nearest even and leaves the integer in the low bits.
  const run_integers integers = (run_integers)(values * ((float)LARGEST / top) + 0x1.8p23f) - 0x4B400000;
  const run_integers upper = (integers + (1 << (LOW_BITS - 1))) >> LOW_BITS;
  const run_bytes narrow = __builtin_convertvector(upper, run_bytes);
  const run_bytes rest = __builtin_convertvector(integers - (upper << LOW_BITS), run_bytes);
  memcpy(high, &narrow, sizeof narrow);
  memcpy(low, &rest, sizeof rest);
  for (int part = 0; part < X_RUN / X_PART; part++) {
    part_integers own;
    memcpy(&own, (const char *)&integers + part * (int)sizeof own, sizeof own);
    sum[part] = __builtin_reduce_add(own);
  }
}

KERNEL void lmoe_integer_rows(const float *x, ptrdiff_t x_stride, size_t rows, size_t depth, void *out) {
  const size_t padded = x_padded(depth);
  for (size_t row = 0; row < rows; row++) {
    const float *from = x + (ptrdiff_t)row * x_stride;
    const x_row to = x_row_at(out, row, depth);
    int8_t *high = (int8_t *)to.high, *low = (int8_t *)to.low;
    float *scale = (float *)to.scale;
    int32_t *sum = (int32_t *)to.sum;
    size_t k = 0;
    for (; k + X_RUN <= depth; k += X_RUN) one_run(from + k, high + k, low + k, scale + k / X_RUN, sum + k / X_PART);
    for (; k < padded; k += X_RUN) {
      float rest[X_RUN] = {0};
      if (k < depth) memcpy(rest, from + k, (depth - k) * sizeof(float));
      one_run(rest, high + k, low + k, scale + k / X_RUN, sum + k / X_PART);
    }
  }
}
