// Element-wise passes over the deltas of experts: order statistics of magnitudes, trimming, election of signs.
#include <math.h>
#include <string.h>

#include "CLMoEKernels.h"

// Plain loops, compiled once for every instruction set that pays.
#if defined(__x86_64__) && defined(__linux__)
#define FOR_ALL_SETS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_ALL_SETS
#endif

static inline uint32_t magnitude_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7FFFFFFFu;
}

void lmoe_magnitude_histogram(const float *x, size_t count, uint64_t *bins) {
  for (size_t i = 0; i < count; i++) bins[magnitude_bits(x[i]) >> 16]++;
}

FOR_ALL_SETS size_t lmoe_collect_magnitudes(const float *x, size_t count, uint32_t bin, float *out) {
  enum { BLOCK = 64 };
  size_t written = 0;
  for (size_t begin = 0; begin < count; begin += BLOCK) {
    const size_t n = count - begin < BLOCK ? count - begin : BLOCK;
    // Few blocks have one: the others are passed over at the speed of memory.
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) found |= (magnitude_bits(x[begin + i]) >> 16) == bin;
    if (!found) continue;
    for (size_t i = 0; i < n; i++) {
      out[written] = fabsf(x[begin + i]);
      written += magnitude_bits(x[begin + i]) >> 16 == bin;
    }
  }
  return written;
}

FOR_ALL_SETS void lmoe_trim(float *x, size_t count, float least, float most) {
  for (size_t i = 0; i < count; i++) {
    const float size = fabsf(x[i]);
    x[i] = size >= least && size <= most ? x[i] : 0;
  }
}

FOR_ALL_SETS double lmoe_sum_magnitudes(const float *x, size_t count) {
  double lanes[16] = {0};
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t lane = 0; lane < 16; lane++) lanes[lane] += (double)fabsf(x[i + lane]);
  double sum = 0;
  for (; i < count; i++) sum += (double)fabsf(x[i]);
  for (size_t lane = 0; lane < 16; lane++) sum += lanes[lane];
  return sum;
}

enum { AT_ONCE = 512 };

FOR_ALL_SETS void lmoe_elect(const float *const *deltas, size_t deltas_count, const float *votes,
                             const float *weights, int divisor, float factor, size_t count, float *out) {
  float elected[AT_ONCE], sum[AT_ONCE], shares[AT_ONCE];
  for (size_t begin = 0; begin < count; begin += AT_ONCE) {
    const size_t n = count - begin < AT_ONCE ? count - begin : AT_ONCE;
    for (size_t i = 0; i < n; i++) elected[i] = sum[i] = shares[i] = 0;
    for (size_t d = 0; d < deltas_count; d++) {
      const float *delta = deltas[d] + begin;
      const float vote = votes[d];
      for (size_t i = 0; i < n; i++) elected[i] += vote * delta[i];
    }
    for (size_t d = 0; d < deltas_count; d++) {
      const float *delta = deltas[d] + begin;
      // Signs are compared of what voted: with its weight, or without.
      const float vote = votes[d], weight = weights[d], share = divisor == LMOE_DIVIDE_BY_WEIGHTS ? weight : 1;
      for (size_t i = 0; i < n; i++) {
        const float voted = vote * delta[i];
        const int agrees = elected[i] >= 0 ? voted > 0 : voted < 0;
        sum[i] += agrees ? weight * delta[i] : 0;
        shares[i] += agrees ? share : 0;
      }
    }
    if (divisor == LMOE_DIVIDE_BY_NOTHING) {
      for (size_t i = 0; i < n; i++) out[begin + i] = factor * sum[i];
    } else {
      for (size_t i = 0; i < n; i++) out[begin + i] = factor * (shares[i] == 0 ? sum[i] : sum[i] / shares[i]);
    }
  }
}

FOR_ALL_SETS void lmoe_to_bf16(const float *values, size_t count, uint16_t *out) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
    out[i] = (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? bits >> 16 | 0x40u : rounded);
  }
}
