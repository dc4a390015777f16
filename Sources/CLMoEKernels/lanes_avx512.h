// Vectors of sixteen floats: AVX-512 F, BW, DQ and VL.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };
typedef __m512 vec;
typedef int32_t vec_bits __attribute__((vector_size(64)));
typedef double vec_double __attribute__((vector_size(128)));
typedef float four __attribute__((vector_size(16)));

static inline vec zero(void) { return _mm512_setzero_ps(); }
static inline vec splat(float value) { return _mm512_set1_ps(value); }
static inline vec multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
/// a if a > b, else b: b where one is a NaN.
static inline vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
/// a if a < b, else b: b where one is a NaN.
static inline vec smaller(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, vec value) { _mm512_storeu_ps(to, value); }

static inline __mmask16 lanes_below(size_t count) { return (__mmask16)((1u << count) - 1); }

/// The first `count` < LANES floats, the rest zero.
static inline vec load_part(const float *from, size_t count) {
  return _mm512_maskz_loadu_ps(lanes_below(count), from);
}
static inline void store_part(float *to, vec value, size_t count) {
  _mm512_mask_storeu_ps(to, lanes_below(count), value);
}

static inline vec widen(__m256i halves, int kind) {
  if (kind == LMOE_F16) return _mm512_cvtph_ps(halves);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/// LANES elements of a weight, which may lie anywhere.
static inline vec load_weight(const char *from, int kind) {
  if (kind == LMOE_F32) return _mm512_loadu_ps(from);
  return widen(_mm256_loadu_si256((const __m256i *)from), kind);
}
static inline vec load_weight_part(const char *from, size_t count, int kind) {
  if (kind == LMOE_F32) return _mm512_maskz_loadu_ps(lanes_below(count), from);
  return widen(_mm256_maskz_loadu_epi16(lanes_below(count), from), kind);
}

/// LANES integers of eight bits.
static inline vec widen_bytes(const int8_t *from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
}

/// The 64 values of `table` by 4 bits each of 32 bytes, of a byte the high ones first.
static inline void look_up_64(const float *table, const uint8_t *from, vec values[64 / LANES]) {
  const __m256i all = _mm256_loadu_si256((const __m256i *)from), low = _mm256_set1_epi8(15);
  __m256i high = _mm256_and_si256(_mm256_srli_epi16(all, 4), low), rest = _mm256_and_si256(all, low);
  __m256i even = _mm256_unpacklo_epi8(high, rest), odd = _mm256_unpackhi_epi8(high, rest);
  const vec entries = load(table);
  values[0] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(even)), entries);
  values[1] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(odd)), entries);
  values[2] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(even, 1)), entries);
  values[3] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(odd, 1)), entries);
}
/// What the f16 at an address stands for, in all lanes.
static inline vec splat_half(const uint8_t *from) {
  return _mm512_cvtph_ps(_mm256_broadcastw_epi16(_mm_loadu_si16(from)));
}

static inline void transpose(vec v[LANES]) {
  vec a[LANES];
  for (int i = 0; i < LANES; i += 2) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    v[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    v[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
    v[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    v[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  // Now quarter q of v[4g + c] is column 4q + c of rows 4g..<4g + 4.
  for (int c = 0; c < 4; c++) {
    vec low = _mm512_shuffle_f32x4(v[c], v[4 + c], 0x88), high = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0x88);
    vec odd_low = _mm512_shuffle_f32x4(v[c], v[4 + c], 0xDD);
    vec odd_high = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0xDD);
    a[c] = _mm512_shuffle_f32x4(low, high, 0x88);
    a[8 + c] = _mm512_shuffle_f32x4(low, high, 0xDD);
    a[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    a[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xDD);
  }
  for (int i = 0; i < LANES; i++) v[i] = a[i];
}

/// The largest of the lanes, none of which is a NaN.
static inline float largest_lane(vec value) {
  value = _mm512_max_ps(value, _mm512_shuffle_f32x4(value, value, 0x4E));
  value = _mm512_max_ps(value, _mm512_shuffle_f32x4(value, value, 0xB1));
  value = _mm512_max_ps(value, _mm512_permute_ps(value, 0x4E));
  return _mm512_cvtss_f32(_mm512_max_ps(value, _mm512_permute_ps(value, 0xB1)));
}

/// value * 2^power; power is whole. Needs no help of its `exponents`.
static inline vec times_power_of_two(vec value, vec power, vec exponents) {
  (void)exponents;
  return _mm512_scalef_ps(value, power);
}

/// The sums of the lanes of four vectors. Each is added up in the same order, wherever it stands.
static inline four sums(vec a, vec b, vec c, vec d) {
  vec ab = _mm512_shuffle_f32x4(a, b, 0x44) + _mm512_shuffle_f32x4(a, b, 0xEE);
  vec cd = _mm512_shuffle_f32x4(c, d, 0x44) + _mm512_shuffle_f32x4(c, d, 0xEE);
  // One quarter each: a, b, c, d.
  vec all = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xDD);
  all += _mm512_permute_ps(all, 0x4E);
  all += _mm512_permute_ps(all, 0xB1);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), all));
}

/// Rounds to nearest even; too large becomes infinity, a NaN stays one.
static inline void store_f16(uint16_t *to, vec value) {
  _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}
