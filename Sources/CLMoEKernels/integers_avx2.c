// Products of integers with AVX2; only called where the processor has it.
#if defined(__x86_64__)
#include "integers.h"
#include "kernel_variants.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#define ROWS_AT_ONCE 3
#define AHEAD 2048
#include "lanes_avx2.h"

// A stretch is taken in parts of 32 elements. Lane i of what they are multiplied to has elements 4i..<4i + 4.
typedef __m256i bytes;
enum { SPAN = 32, MOST_STRETCH_BYTES = 210 };
/// Elements of a row that are taken in one pass: what is there of x as pairs is on the stack.
#define PAIRS_AT_ONCE 8192

INLINE int stretch_elements(integer_form form) {
  switch (form) {
    case FORM_Q4_K: case FORM_Q6_K: return 256;
    case FORM_I4_64: return 64;
    case FORM_I4_128: return 128;
    default: return SPAN;
  }
}

/// The scales of a stretch, of its parts (Q4_K, whose minima follow) or of its halves of parts (Q6_K).
typedef struct {
  vec scales, more;
} head;

INLINE vec half_at_all(const uint8_t *at) { return _mm256_cvtph_ps(_mm_broadcastw_epi16(_mm_loadu_si16(at))); }
INLINE vec from_u8(uint64_t codes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)codes))); }

INLINE head read_head(const integer_form form, const uint8_t *at) {
  switch (form) {
    case FORM_Q4_K: {
      uint32_t words[3];
      memcpy(words, at + 4, sizeof words);
      const uint32_t low = 0x0F0F0F0F, high = 0x03030303;
      uint64_t scales = (words[0] & 0x3F3F3F3F) | (uint64_t)((words[2] & low) | ((words[0] >> 6) & high) << 4) << 32;
      uint64_t minima = (words[1] & 0x3F3F3F3F) | (uint64_t)(((words[2] >> 4) & low) | ((words[1] >> 6) & high) << 4) << 32;
      return (head){half_at_all(at) * from_u8(scales), half_at_all(at + 2) * from_u8(minima)};
    }
    case FORM_Q6_K: {
      const vec d = half_at_all(at + 208);
      __m128i codes = _mm_loadu_si128((const __m128i *)(at + 192));
      return (head){d * _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)),
                    d * _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)))};
    }
    case FORM_I8_ROW: return (head){zero(), zero()};
    default: return (head){half_at_all(at), zero()};
  }
}

/// The scales of a part's lanes, times those of x.
INLINE vec scale_of(const integer_form form, const head *head, int part, vec scale) {
  switch (form) {
    case FORM_I8_ROW: return scale;
    case FORM_Q4_K: return scale * _mm256_permutevar8x32_ps(head->scales, _mm256_set1_epi32(part));
    case FORM_Q6_K: {
      __m256i places = _mm256_add_epi32(_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), _mm256_set1_epi32(2 * (part & 3)));
      return scale * _mm256_permutevar8x32_ps(part < 4 ? head->scales : head->more, places);
    }
    default: return scale * head->scales;
  }
}

/// The sums of eight runs of x, times their scales.
INLINE vec x_totals(const float *scale, const int32_t *sum) {
  __m256i low = _mm256_loadu_si256((const __m256i *)sum), high = _mm256_loadu_si256((const __m256i *)(sum + 8));
  __m256i both = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), 0xD8);
  return _mm256_loadu_ps(scale) * _mm256_cvtepi32_ps(both);
}
INLINE vec minus_product(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); }

INLINE bytes load_some(const uint8_t *from) { return _mm256_loadu_si256((const __m256i *)from); }
/// Sixteen bytes, and the same four bits to the right.
INLINE bytes both_nibbles(const uint8_t *from) {
  __m128i all = _mm_loadu_si128((const __m128i *)from);
  return _mm256_set_m128i(_mm_srli_epi16(all, 4), all);
}

INLINE bytes read_bytes(const integer_form form, const uint8_t *at, int part) {
  const __m256i low = _mm256_set1_epi8(15);
  switch (form) {
    case FORM_Q8_0: return load_some(at + 2);
    case FORM_I8_ROW: return load_some(at);
    case FORM_Q4_0: return _mm256_sub_epi8(_mm256_and_si256(both_nibbles(at + 2), low), _mm256_set1_epi8(8));
    case FORM_Q4_K: {
      __m256i q = load_some(at + 16 + 32 * (part / 2));
      return _mm256_and_si256(part & 1 ? _mm256_srli_epi16(q, 4) : q, low);
    }
    case FORM_Q6_K: {
      const int quarter = part & 3;
      __m256i q = load_some(at + 64 * (part / 4) + 32 * (quarter & 1));
      __m256i high = _mm256_srli_epi16(load_some(at + 128 + 32 * (part / 4)), 2 * quarter);
      high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
      q = _mm256_and_si256(quarter & 2 ? _mm256_srli_epi16(q, 4) : q, low);
      return _mm256_sub_epi8(_mm256_or_si256(q, high), _mm256_set1_epi8(32));
    }
    case FORM_I4_32:
      return _mm256_sub_epi8(_mm256_and_si256(both_nibbles(at + 3), low), _mm256_set1_epi8((char)at[2]));
    case FORM_I4_64: case FORM_I4_128: {
      const int lots = form == FORM_I4_64 ? 1 : 2;
      __m256i q = load_some(at + 3 + 32 * (part % lots));
      q = _mm256_and_si256(part / lots ? _mm256_srli_epi16(q, 4) : q, low);
      return _mm256_sub_epi8(q, _mm256_set1_epi8((char)at[2]));
    }
    default: return _mm256_setzero_si256();
  }
}

#include "integers_rows_avx2.h"
#include "integers_body.h"
#include "integers_pairs.h"
#include "panels_avx2.h"

const lmoe_integer_kernels lmoe_integers_avx2 = {integer_rows, integer_pairs, up_q8_0, down_q8_0};
#pragma clang attribute pop
#endif
