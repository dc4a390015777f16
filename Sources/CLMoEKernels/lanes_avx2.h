// Vectors of eight floats: AVX2, FMA and F16C.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 8 };
typedef __m256 vec;
typedef int32_t vec_bits __attribute__((vector_size(32)));
typedef double vec_double __attribute__((vector_size(64)));
typedef float four __attribute__((vector_size(16)));

static inline vec zero(void) { return _mm256_setzero_ps(); }
static inline vec splat(float value) { return _mm256_set1_ps(value); }
static inline vec multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
/// a if a > b, else b: b where one is a NaN.
static inline vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
/// a if a < b, else b: b where one is a NaN.
static inline vec smaller(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec load(const float *from) { return _mm256_loadu_ps(from); }
static inline void store(float *to, vec value) { _mm256_storeu_ps(to, value); }

/// All bits of the first `count` lanes.
static inline __m256i lanes_below(size_t count) {
  __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), numbers);
}

/// The first `count` < LANES floats, the rest zero.
static inline vec load_part(const float *from, size_t count) { return _mm256_maskload_ps(from, lanes_below(count)); }
static inline void store_part(float *to, vec value, size_t count) {
  _mm256_maskstore_ps(to, lanes_below(count), value);
}

static inline vec widen(__m128i halves, int kind) {
  if (kind == LMOE_F16) return _mm256_cvtph_ps(halves);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/// LANES elements of a weight, which may lie anywhere.
static inline vec load_weight(const char *from, int kind) {
  if (kind == LMOE_F32) return _mm256_loadu_ps((const float *)from);
  return widen(_mm_loadu_si128((const __m128i *)from), kind);
}
static inline vec load_weight_part(const char *from, size_t count, int kind) {
  if (kind == LMOE_F32) return load_part((const float *)from, count);
  uint16_t halves[LANES] = {0};
  for (size_t i = 0; i < count; i++) memcpy(halves + i, from + 2 * i, 2);
  return widen(_mm_loadu_si128((const __m128i *)halves), kind);
}

/// LANES integers of eight bits.
static inline vec widen_bytes(const int8_t *from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}

/// The 64 values of `table` by 4 bits each of 32 bytes, of a byte the high ones first.
static inline void look_up_64(const float *table, const uint8_t *from, vec values[64 / LANES]) {
  const vec below = load(table), above = load(table + LANES);
  const __m128i low = _mm_set1_epi8(15);
  for (int part = 0; part < 64 / LANES; part++) {
    int32_t four_bytes;
    memcpy(&four_bytes, from + 4 * part, 4);
    __m128i all = _mm_cvtsi32_si128(four_bytes);
    __m128i pairs = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(all, 4), low), _mm_and_si128(all, low));
    __m256i places = _mm256_cvtepu8_epi32(pairs);
    values[part] = _mm256_blendv_ps(_mm256_permutevar8x32_ps(below, places), _mm256_permutevar8x32_ps(above, places),
                                    _mm256_castsi256_ps(_mm256_slli_epi32(places, 28)));
  }
}
/// What the f16 at an address stands for, in all lanes.
static inline vec splat_half(const uint8_t *from) {
  return _mm256_cvtph_ps(_mm_broadcastw_epi16(_mm_loadu_si16(from)));
}

static inline void transpose(vec v[LANES]) {
  vec a[LANES];
  for (int i = 0; i < 4; i++) {
    a[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
  for (int half = 0; half < 2; half++) {
    vec *from = a + 4 * half, *to = v + 4 * half;
    to[0] = _mm256_shuffle_ps(from[0], from[2], 0x44);
    to[1] = _mm256_shuffle_ps(from[0], from[2], 0xEE);
    to[2] = _mm256_shuffle_ps(from[1], from[3], 0x44);
    to[3] = _mm256_shuffle_ps(from[1], from[3], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    vec low = v[i], high = v[i + 4];
    v[i] = _mm256_permute2f128_ps(low, high, 0x20);
    v[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
  }
}

/// The largest of the lanes, none of which is a NaN.
static inline float largest_lane(vec value) {
  value = _mm256_max_ps(value, _mm256_permute2f128_ps(value, value, 1));
  value = _mm256_max_ps(value, _mm256_permute_ps(value, 0x4E));
  return _mm256_cvtss_f32(_mm256_max_ps(value, _mm256_permute_ps(value, 0xB1)));
}

/// value * 2^power, of whole powers up to 127; infinity for 128, and 0 below -126. `exponents` have power + 127 in their
/// lowest bits, above which those that are left after a shift by 23 are zero.
static inline vec times_power_of_two(vec value, vec power, vec exponents) {
  const vec_bits is_tiny = power < -126.0f;
  return (vec)(~is_tiny & (vec_bits)(value * (vec)((vec_bits)exponents << 23)));
}

/// The sums of the lanes of four vectors. Each is added up in the same order, wherever it stands.
static inline four sums(vec a, vec b, vec c, vec d) {
  vec ab = _mm256_permute2f128_ps(a, b, 0x20) + _mm256_permute2f128_ps(a, b, 0x31);
  vec cd = _mm256_permute2f128_ps(c, d, 0x20) + _mm256_permute2f128_ps(c, d, 0x31);
  // In each half: two lanes of a (or b), two of c (or d).
  vec all = _mm256_shuffle_ps(ab, cd, 0x44) + _mm256_shuffle_ps(ab, cd, 0xEE);
  all += _mm256_permute_ps(all, 0xB1);
  return _mm_unpacklo_ps(_mm_permute_ps(_mm256_castps256_ps128(all), 0x08),
                         _mm_permute_ps(_mm256_extractf128_ps(all, 1), 0x08));
}

/// Rounds to nearest even; too large becomes infinity, a NaN stays one.
static inline void store_f16(uint16_t *to, vec value) {
  _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}
