// Instructions of AVX-512 that SIMDe 0.7.4 lacks, or computes otherwise than a processor: by those of AVX2, or a lane at
// a time. `run.sh` makes what the kernels call by their own names of them, and of SIMDe's the rest.

#define EMULATED static inline __attribute__((always_inline, unused))

typedef union {
  __m512 floats;
  __m512i integers;
  float f[16];
  int32_t i[16];
  uint32_t u[16];
  __m256 halves[2];
  __m256i integer_halves[2];
} lanes;

/// A vector of 512 bits whose lane k is `value`.
#define LANES_OF(member, value)                    \
  ({                                               \
    lanes made;                                    \
    for (int k = 0; k < 16; k++) made.member[k] = (value); \
    made;                                          \
  })
#define IS_SET(mask) ((mask) >> k & 1)

// MARK: By halves, with the instructions of AVX2, for their rounding and what they make of NaNs

#define BY_HALVES(name, instruction)                                                                              \
  EMULATED __m512 name(__m512 a, __m512 b) {                                                                      \
    lanes x = {.floats = a}, y = {.floats = b};                                                                   \
    for (int half = 0; half < 2; half++) x.halves[half] = instruction(x.halves[half], y.halves[half]);            \
    return x.floats;                                                                                              \
  }
BY_HALVES(emulated_mm512_max_ps, _mm256_max_ps)
BY_HALVES(emulated_mm512_min_ps, _mm256_min_ps)

#define BY_HALVES_OF_THREE(name, instruction)                                                                     \
  EMULATED __m512 name(__m512 a, __m512 b, __m512 c) {                                                            \
    lanes x = {.floats = a}, y = {.floats = b}, z = {.floats = c};                                                \
    for (int half = 0; half < 2; half++) z.halves[half] = instruction(x.halves[half], y.halves[half], z.halves[half]); \
    return z.floats;                                                                                              \
  }
BY_HALVES_OF_THREE(emulated_mm512_fmadd_ps, _mm256_fmadd_ps)
BY_HALVES_OF_THREE(emulated_mm512_fnmadd_ps, _mm256_fnmadd_ps)

EMULATED __m512 emulated_mm512_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, uint16_t mask) {
  const lanes sum = {.floats = emulated_mm512_fmadd_ps(a, b, c)}, rest = {.floats = c};
  return LANES_OF(f, IS_SET(mask) ? sum.f[k] : rest.f[k]).floats;
}

EMULATED __m512 emulated_mm512_cvtph_ps(__m256i a) {
  const lanes made = {.halves = {_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))}};
  return made.floats;
}
EMULATED __m256i emulated_to_f16(__m512 a) {
  const lanes x = {.floats = a};
  return _mm256_setr_m128i(_mm256_cvtps_ph(x.halves[0], _MM_FROUND_TO_NEAREST_INT),
                           _mm256_cvtps_ph(x.halves[1], _MM_FROUND_TO_NEAREST_INT));
}
// The kernels round to the nearest, and nothing else.
#define emulated_mm512_cvtps_ph(a, rounding) emulated_to_f16(a)
EMULATED __m512i emulated_mm512_cvtps_epi32(__m512 a) {
  const lanes x = {.floats = a};
  const lanes made = {.integer_halves = {_mm256_cvtps_epi32(x.halves[0]), _mm256_cvtps_epi32(x.halves[1])}};
  return made.integers;
}
EMULATED __m512 emulated_mm512_cvtepi32_ps(__m512i a) {
  const lanes x = {.integers = a};
  const lanes made = {.halves = {_mm256_cvtepi32_ps(x.integer_halves[0]), _mm256_cvtepi32_ps(x.integer_halves[1])}};
  return made.floats;
}

// MARK: A lane at a time

#define WIDENING(name, vector, type)                     \
  EMULATED __m512i name(vector a) {                      \
    type from[sizeof(vector) / sizeof(type)];            \
    memcpy(from, &a, sizeof from);                       \
    return LANES_OF(i, from[k]).integers;                \
  }
WIDENING(emulated_mm512_cvtepi8_epi32, __m128i, int8_t)
WIDENING(emulated_mm512_cvtepu8_epi32, __m128i, uint8_t)
WIDENING(emulated_mm512_cvtepu16_epi32, __m256i, uint16_t)

EMULATED __m128i emulated_mm512_cvtepi32_epi8(__m512i a) {
  const lanes x = {.integers = a};
  int8_t bytes[16];
  for (int k = 0; k < 16; k++) bytes[k] = (int8_t)x.i[k];
  return _mm_loadu_si128((const __m128i *)bytes);
}

EMULATED __m512i emulated_mm512_srai_epi32(__m512i a, unsigned count) {
  const lanes x = {.integers = a};
  return LANES_OF(i, x.i[k] >> (int)count).integers;
}

EMULATED __m512 emulated_permute(__m512 a, int places) {
  const lanes x = {.floats = a};
  return LANES_OF(f, x.f[(k & ~3) + (places >> 2 * (k & 3) & 3)]).floats;
}
#define emulated_mm512_permute_ps(a, places) emulated_permute(a, places)

EMULATED int emulated_mm512_reduce_add_epi32(__m512i a) {
  const lanes x = {.integers = a};
  uint32_t sum = 0;
  for (int k = 0; k < 16; k++) sum += x.u[k];
  return (int)sum;
}
EMULATED uint32_t emulated_mm512_reduce_max_epu32(__m512i a) {
  const lanes x = {.integers = a};
  uint32_t most = 0;
  for (int k = 0; k < 16; k++) most = x.u[k] > most ? x.u[k] : most;
  return most;
}
EMULATED float emulated_mm512_cvtss_f32(__m512 a) { return ((lanes){.floats = a}).f[0]; }

// MARK: Masked: nothing is touched where the mask is not set

EMULATED __m512 emulated_mm512_maskz_loadu_ps(uint16_t mask, const void *from) {
  return LANES_OF(f, IS_SET(mask) ? ((const float *)from)[k] : 0).floats;
}
EMULATED void emulated_mm512_mask_storeu_ps(void *to, uint16_t mask, __m512 a) {
  const lanes x = {.floats = a};
  for (int k = 0; k < 16; k++)
    if (IS_SET(mask)) ((float *)to)[k] = x.f[k];
}
EMULATED __m256i emulated_mm256_maskz_loadu_epi16(uint16_t mask, const void *from) {
  uint16_t made[16] = {0};
  for (int k = 0; k < 16; k++)
    if (IS_SET(mask)) memcpy(made + k, (const char *)from + 2 * k, 2);
  return _mm256_loadu_si256((const __m256i *)made);
}
EMULATED __m256i emulated_mm256_mask_broadcastw_epi16(__m256i rest, uint16_t mask, __m128i a) {
  uint16_t made[16];
  memcpy(made, &rest, sizeof made);
  for (int k = 0; k < 16; k++)
    if (IS_SET(mask)) memcpy(made + k, &a, 2);
  return _mm256_loadu_si256((const __m256i *)made);
}

#undef LANES_OF
#undef IS_SET
#undef WIDENING
#undef BY_HALVES
#undef BY_HALVES_OF_THREE
