// Products of one token with factors in Q8_0, laid out for it (panels.h).
#include "panels.h"

/// How far ahead is asked for what comes: strips lie one after the other.
enum { FAR = 4096 };

/// One vector's coefficients as integers, in two parts; their sum is returned in `sum`.
static inline __attribute__((always_inline)) void split_integers(__m512i integers, int8_t *high, int8_t *low) {
  const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(integers, _mm512_set1_epi32(1 << (LOW_BITS - 1))), LOW_BITS);
  const __m512i rest = _mm512_sub_epi32(integers, _mm512_slli_epi32(upper, LOW_BITS));
  _mm_storeu_si128((__m128i *)high, _mm512_cvtepi32_epi8(upper));
  _mm_storeu_si128((__m128i *)low, _mm512_cvtepi32_epi8(rest));
}

/// y[Q8_PANEL] += the coefficients u s of ranks [first, end), in fifteen bits, times a panel of B.
static void up_q8_0(const float *u, size_t ranks, size_t first, size_t end, const void *panel, float *y) {
  enum { MOST = 256 };
  const uint8_t *scales = panel, *bytes = scales + 2 * up_ranks(ranks);
  for (size_t from = first / QUAD * QUAD; from < end; from += MOST) {
    // Ranks before the first and from the end on have the coefficient 0.
    const size_t count = end - from < MOST ? end - from : MOST, quads = (count + QUAD - 1) / QUAD;
    const size_t skipped = from < first ? first - from : 0;
    float coefficients[MOST];
    vec most = zero();
    for (size_t r = 0; r < count; r += LANES) {
      const size_t left = count - r < LANES ? count - r : LANES;
      __mmask16 mask = lanes_below(left);
      if (skipped > r) mask &= (__mmask16)~lanes_below(skipped - r < LANES ? skipped - r : LANES);
      const __m256i halves = _mm256_maskz_loadu_epi16(lanes_below(left), scales + 2 * (from + r));
      const vec value = _mm512_maskz_mul_ps(mask, _mm512_cvtph_ps(halves), _mm512_maskz_loadu_ps(mask, u + from + r));
      _mm512_storeu_ps(coefficients + r, value);
      // Magnitudes compare as their bits do, and what is no number is the largest.
      most = (vec)_mm512_max_epu32((__m512i)most, _mm512_and_si512((__m512i)value, _mm512_set1_epi32(0x7FFFFFFF)));
    }
    const uint32_t bits = _mm512_reduce_max_epu32((__m512i)most);
    if (bits < (127u - 100) << 23) continue;
    float top;
    memcpy(&top, &bits, 4);
    if (bits >= 0x7F800000) {
      for (int j = 0; j < Q8_PANEL; j++) y[j] = NAN;
      return;
    }
    int8_t high[MOST] __attribute__((aligned(64))), low[MOST] __attribute__((aligned(64)));
    const vec factor = splat((float)LARGEST / top);
    __m512i total = _mm512_setzero_si512();
    for (size_t r = 0; r < count; r += LANES) {
      const __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(coefficients + r), factor));
      total = _mm512_add_epi32(total, integers);
      split_integers(integers, high + r, low + r);
    }
    const __m512i bias = _mm512_set1_epi32(-128 * _mm512_reduce_add_epi32(total));
    __m512i upper[2], rest[2];
    EACH(v, 2) {
      upper[v] = _mm512_setzero_si512();
      rest[v] = bias;
    }
    const uint8_t *at = bytes + from * Q8_PANEL;
    for (size_t quad = 0; quad < quads; quad++, at += QUAD * Q8_PANEL) {
      __builtin_prefetch(at + FAR, 0, 2);
      __builtin_prefetch(at + FAR + 64, 0, 2);
      int32_t h, l;
      memcpy(&h, high + QUAD * quad, 4);
      memcpy(&l, low + QUAD * quad, 4);
      EACH(v, 2) {
        const __m512i own = _mm512_loadu_si512(at + 64 * v);
        upper[v] = _mm512_dpbusd_epi32(upper[v], own, _mm512_set1_epi32(h));
        rest[v] = _mm512_dpbusd_epi32(rest[v], own, _mm512_set1_epi32(l));
      }
    }
    const vec scale = splat(top / (float)LARGEST);
    EACH(v, 2) {
      const __m512i all = _mm512_add_epi32(_mm512_slli_epi32(upper[v], LOW_BITS), rest[v]);
      store(y + LANES * v, multiply_add(_mm512_cvtepi32_ps(all), scale, load(y + LANES * v)));
    }
  }
}

/// u[ranks] = `count` inputs, as lmoe_integer_rows makes them, times the runs of A.
static void down_q8_0(const void *integers, size_t count, const void *runs, size_t ranks, float *u) {
  const size_t padded = down_ranks(ranks);
  const x_row x = x_row_at(integers, 0, count);
  const uint8_t *run = runs;
  memset(u, 0, ranks * sizeof *u);
  for (size_t k = 0; k < count; k += X_RUN, run += padded * Q8_BYTES) {
    const __m512i bias = _mm512_set1_epi32(-128 * (x.sum[k / X_PART] + x.sum[k / X_PART + 1]));
    const vec x_scale = splat(x.scale[k / X_RUN]);
    const uint8_t *bytes = run + 2 * padded;
    for (size_t rank = 0; rank < ranks; rank += RANKS) {
      __m512i upper = _mm512_setzero_si512(), rest = bias;
      EACH(quad, X_RUN / QUAD) {
        int32_t h, l;
        memcpy(&h, x.high + k + QUAD * (size_t)quad, 4);
        memcpy(&l, x.low + k + QUAD * (size_t)quad, 4);
        __builtin_prefetch(bytes + FAR, 0, 2);
        const __m512i own = _mm512_loadu_si512(bytes);
        upper = _mm512_dpbusd_epi32(upper, own, _mm512_set1_epi32(h));
        rest = _mm512_dpbusd_epi32(rest, own, _mm512_set1_epi32(l));
        bytes += RANKS * QUAD;
      }
      const __m512i all = _mm512_add_epi32(_mm512_slli_epi32(upper, LOW_BITS), rest);
      const vec scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(run + 2 * rank)));
      const __mmask16 lanes = lanes_below(ranks - rank < RANKS ? ranks - rank : RANKS);
      const vec sum = _mm512_maskz_loadu_ps(lanes, u + rank);
      _mm512_mask_storeu_ps(u + rank, lanes, multiply_add(_mm512_cvtepi32_ps(all), scale * x_scale, sum));
    }
  }
}
