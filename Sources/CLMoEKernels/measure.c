// Sums over float tensors of any dtype: squares, finiteness, Gram matrices. Plain loops that the compiler
// vectorises; on x86-64 glibc they are compiled twice and the loader picks (ifunc).
#include "CLMoEKernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) && !__has_feature(thread_sanitizer)
#define KERNEL __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define KERNEL
#endif

enum { LANES = 16, BLOCK = 4096 };

static inline float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

// Exact for every finite f16; infinities and NaNs stay what they are.
static inline float from_f16(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
  // Subnormals and normals alike: place the bits as a tiny float and scale by 2^112.
  float scaled = from_bits(rest << 13) * 0x1p112f;
  uint32_t bits;
  memcpy(&bits, &scaled, 4);
  uint32_t special = 0x7F800000u | (rest << 13);
  return from_bits(sign | (rest >= 0x7C00 ? special : bits));
}

KERNEL static void convert16(const uint8_t *values, size_t count, int is_f16, float *out) {
  if (is_f16) {
    for (size_t i = 0; i < count; i++) {
      uint16_t v;
      memcpy(&v, values + 2 * i, 2);
      out[i] = from_f16(v);
    }
  } else {
    for (size_t i = 0; i < count; i++) {
      uint16_t v;
      memcpy(&v, values + 2 * i, 2);
      out[i] = from_bits((uint32_t)v << 16);
    }
  }
}

KERNEL static void convert64(const uint8_t *values, size_t count, float *out) {
  for (size_t i = 0; i < count; i++) {
    double v;
    memcpy(&v, values + 8 * i, 8);
    out[i] = (float)v;
  }
}

void lmoe_to_f32(const void *values, size_t count, int kind, float *out) {
  switch (kind) {
  case LMOE_F64: convert64(values, count, out); break;
  case LMOE_F32: memcpy(out, values, count * 4); break;
  default: convert16(values, count, kind == LMOE_F16, out); break;
  }
}

// Squares of values up to 1e19 fit a float; sums are kept in double.
KERNEL static double squares(const float *values, size_t count, int *is_finite) {
  double lanes[LANES] = {0};
  uint32_t special[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    for (int lane = 0; lane < LANES; lane++) {
      uint32_t bits;
      memcpy(&bits, values + i + lane, 4);
      special[lane] |= (bits & 0x7F800000u) == 0x7F800000u;
      double v = values[i + lane];
      lanes[lane] += v * v;
    }
  }
  double sum = 0;
  uint32_t any = 0;
  for (int lane = 0; lane < LANES; lane++) {
    sum += lanes[lane];
    any |= special[lane];
  }
  for (; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, 4);
    any |= (bits & 0x7F800000u) == 0x7F800000u;
    sum += (double)values[i] * values[i];
  }
  if (any) *is_finite = 0;
  return sum;
}

static size_t width_of(int kind) { return kind == LMOE_F64 ? 8 : kind == LMOE_F32 ? 4 : 2; }

double lmoe_sum_squares(const void *values, size_t count, int kind, int *is_finite) {
  const uint8_t *bytes = values;
  float block[BLOCK];
  double sum = 0;
  *is_finite = 1;
  if (kind == LMOE_F64) {
    for (size_t i = 0; i < count; i++) {
      double v;
      memcpy(&v, bytes + 8 * i, 8);
      if (v - v != 0) *is_finite = 0;
      sum += v * v;
    }
    return sum;
  }
  for (size_t start = 0; start < count; start += BLOCK) {
    size_t part = count - start < BLOCK ? count - start : BLOCK;
    lmoe_to_f32(bytes + start * width_of(kind), part, kind, block);
    sum += squares(block, part, is_finite);
  }
  return sum;
}

KERNEL static int has_special(const float *values, size_t count) {
  uint32_t any = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, 4);
    any |= (bits & 0x7F800000u) == 0x7F800000u;
  }
  return any != 0;
}

size_t lmoe_first_nonfinite(const void *values, size_t count, int kind) {
  const uint8_t *bytes = values;
  float block[BLOCK];
  for (size_t start = 0; start < count; start += BLOCK) {
    size_t part = count - start < BLOCK ? count - start : BLOCK;
    if (kind == LMOE_F64) {
      for (size_t i = start; i < start + part; i++) {
        double v;
        memcpy(&v, bytes + 8 * i, 8);
        if (v - v != 0) return i;
      }
      continue;
    }
    const float *floats = block;
    if (kind == LMOE_F32) floats = (const float *)(const void *)(bytes + 4 * start);
    else lmoe_to_f32(bytes + start * width_of(kind), part, kind, block);
    if (!has_special(floats, part)) continue;
    for (size_t i = 0; i < part; i++) {
      float v;
      memcpy(&v, (const char *)floats + 4 * i, 4);
      if (v - v != 0) return start + i;
    }
  }
  return count;
}

KERNEL static double dot(const float *left, const float *right, size_t count) {
  double sum = 0;
  for (size_t start = 0; start < count; start += 512) {
    size_t end = count - start < 512 ? count : start + 512, i = start;
    float lanes[LANES] = {0};
    for (; i + LANES <= end; i += LANES) {
      for (int lane = 0; lane < LANES; lane++) lanes[lane] += left[i + lane] * right[i + lane];
    }
    for (; i < end; i++) sum += (double)left[i] * right[i];
    for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
  }
  return sum;
}

void lmoe_gram(const float *rows, size_t count, size_t length, double *gram) {
  for (size_t i = 0; i < count; i++) {
    for (size_t j = i; j < count; j++) {
      gram[i * count + j] = gram[j * count + i] = dot(rows + i * length, rows + j * length, length);
    }
  }
}
