// Products of one token with factors in Q8_0, laid out for it (panels.h). Bytes become integers of sixteen bits, the
// first and third of each four in one vector, the other two in another; pairs of them are multiplied at once.
#include "panels.h"

/// How far ahead is asked for what comes: strips lie one after the other.
enum { FAR = 4096 };

INLINE __m256i lower_bytes(__m256i all) { return _mm256_and_si256(all, _mm256_set1_epi16(255)); }
INLINE __m256i upper_bytes(__m256i all) { return _mm256_srli_epi16(all, 8); }
/// The pair that begins there, in all lanes.
INLINE __m256i pair_at(const int16_t *from) {
  int32_t pair;
  memcpy(&pair, from, sizeof pair);
  return _mm256_set1_epi32(pair);
}

/// Adds what 32 bytes, four deep, make of four integers: first and third, second and fourth.
INLINE __m256i add_quad(__m256i sum, const uint8_t *bytes, __m256i outer, __m256i inner) {
  const __m256i own = _mm256_loadu_si256((const __m256i *)bytes);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(lower_bytes(own), outer));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(upper_bytes(own), inner));
}

/// The largest of the lanes, which are not negative.
INLINE uint32_t largest_bits(__m256i all) {
  uint32_t lanes[LANES], most = 0;
  _mm256_storeu_si256((__m256i *)lanes, all);
  EACH(i, LANES) most = lanes[i] > most ? lanes[i] : most;
  return most;
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
    __m256i most = _mm256_setzero_si256();
    for (size_t r = 0; r < count; r += LANES) {
      const size_t left = count - r < LANES ? count - r : LANES;
      __m256i mask = lanes_below(left);
      if (skipped > r) mask = _mm256_andnot_si256(lanes_below(skipped - r), mask);
      // There are bytes behind the scales.
      const vec scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 2 * (from + r))));
      const vec value = _mm256_and_ps(scale * _mm256_maskload_ps(u + from + r, mask), (vec)mask);
      store(coefficients + r, value);
      // Magnitudes compare as their bits do, and what is no number is the largest.
      most = _mm256_max_epu32(most, _mm256_and_si256((__m256i)value, _mm256_set1_epi32(0x7FFFFFFF)));
    }
    const uint32_t bits = largest_bits(most);
    if (bits < (127u - 100) << 23) continue;
    float top;
    memcpy(&top, &bits, 4);
    if (bits >= 0x7F800000) {
      for (int j = 0; j < Q8_PANEL; j++) y[j] = NAN;
      return;
    }
    int16_t integers[MOST];
    const vec factor = splat((float)LARGEST / top);
    __m256i total = _mm256_setzero_si256();
    for (size_t r = 0; r < count; r += LANES) {
      const __m256i all = _mm256_cvtps_epi32(load(coefficients + r) * factor);
      total = _mm256_add_epi32(total, all);
      // Of each four the first with the third, the second with the fourth.
      const __m256i behind = _mm256_slli_epi32(_mm256_shuffle_epi32(all, 0x0E), 16);
      const __m256i pairs = _mm256_blend_epi16(all, behind, 0xAA);
      _mm_storeu_si128((__m128i *)(integers + r), _mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0x08)));
    }
    int32_t sums[LANES], offset = 0;
    _mm256_storeu_si256((__m256i *)sums, total);
    EACH(i, LANES) offset -= 128 * sums[i];
    __m256i sum[Q8_PANEL / LANES];
    EACH(v, Q8_PANEL / LANES) sum[v] = _mm256_set1_epi32(offset);
    const uint8_t *at = bytes + from * Q8_PANEL;
    for (size_t quad = 0; quad < quads; quad++, at += QUAD * Q8_PANEL) {
      __builtin_prefetch(at + FAR, 0, 2);
      __builtin_prefetch(at + FAR + 64, 0, 2);
      const __m256i outer = pair_at(integers + QUAD * quad), inner = pair_at(integers + QUAD * quad + 2);
      EACH(v, Q8_PANEL / LANES) sum[v] = add_quad(sum[v], at + QUAD * LANES * v, outer, inner);
    }
    const vec scale = splat(top / (float)LARGEST);
    EACH(v, Q8_PANEL / LANES)
      store(y + LANES * v, multiply_add(_mm256_cvtepi32_ps(sum[v]), scale, load(y + LANES * v)));
  }
}

/// u[ranks] = `count` inputs, as lmoe_integer_rows makes them, times the runs of A.
static void down_q8_0(const void *integers, size_t count, const void *runs, size_t ranks, float *u) {
  const size_t padded = down_ranks(ranks);
  const x_row x = x_row_at(integers, 0, count);
  const uint8_t *run = runs;
  memset(u, 0, ranks * sizeof *u);
  for (size_t k = 0; k < count; k += X_RUN, run += padded * Q8_BYTES) {
    int16_t own[X_RUN];
    store_pairs(own, pairs_of_run(&x, k / X_RUN));
    const __m256i bias = _mm256_set1_epi32(-128 * (x.sum[k / X_PART] + x.sum[k / X_PART + 1]));
    const vec x_scale = splat(x.scale[k / X_RUN]);
    const uint8_t *bytes = run + 2 * padded;
    for (size_t rank = 0; rank < ranks; rank += RANKS) {
      __m256i sum[RANKS / LANES];
      EACH(v, RANKS / LANES) sum[v] = bias;
      EACH(quad, X_RUN / QUAD) {
        __builtin_prefetch(bytes + FAR, 0, 2);
        const __m256i outer = pair_at(own + 2 * quad), inner = pair_at(own + X_RUN / 2 + 2 * quad);
        EACH(v, RANKS / LANES) sum[v] = add_quad(sum[v], bytes + QUAD * LANES * v, outer, inner);
        bytes += RANKS * QUAD;
      }
      for (size_t v = 0; v < RANKS / LANES && rank + v * LANES < ranks; v++) {
        float *to = u + rank + v * LANES;
        const size_t left = ranks - rank - v * LANES;
        const vec scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(run + 2 * (rank + v * LANES))));
        const vec value = _mm256_cvtepi32_ps(v == 0 ? sum[0] : sum[1]);
        if (left >= LANES)
          store(to, multiply_add(value, scale * x_scale, load(to)));
        else
          store_part(to, multiply_add(value, scale * x_scale, load_part(to, left)), left);
      }
    }
  }
}
