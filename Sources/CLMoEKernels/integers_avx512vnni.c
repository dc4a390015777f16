// Products of integers with AVX-512 VNNI; only called where the processor has it.
#if defined(__x86_64__)
#include "integers.h"
#include "kernel_variants.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi2"))), apply_to = function)
#define ROWS_AT_ONCE 4
#define AHEAD 8192
#include "lanes_avx512.h"

// A stretch is taken in parts of 64 elements. Lane i of what they are multiplied to has elements 4i..<4i + 4; the
// weight is unsigned, with an offset that makes it so.
typedef __m512i bytes;
enum { SPAN = 64, MOST_STRETCH_BYTES = 256 };

INLINE int stretch_elements(integer_form form) {
  return form == FORM_Q4_K || form == FORM_Q6_K ? 256 : form == FORM_I4_128 ? 128 : SPAN;
}

/// The scales of a stretch: of its lanes, of its sixteen runs (Q6_K), or of its eight runs and then as many minima
/// (Q4_K).
typedef struct {
  vec scales;
} head;

INLINE __m256i half_bits(const uint8_t *at) { return _mm256_broadcastw_epi16(_mm_loadu_si16(at)); }

/// The f16 at `low` in the lower half of the lanes, that at `high` in the upper.
INLINE vec two_halves(const uint8_t *low, const uint8_t *high) {
  return _mm512_cvtph_ps(_mm256_mask_broadcastw_epi16(half_bits(low), 0xFF00, _mm_loadu_si16(high)));
}

INLINE head read_head(const integer_form form, const uint8_t *at) {
  switch (form) {
    case FORM_Q8_0: case FORM_Q4_0: case FORM_I4_32: return (head){two_halves(at, at + form_bytes(form))};
    case FORM_I4_64: case FORM_I4_128: return (head){_mm512_cvtph_ps(half_bits(at))};
    case FORM_Q4_K: {
      uint32_t words[3];
      memcpy(words, at + 4, sizeof words);
      const uint32_t low = 0x0F0F0F0F, high = 0x03030303;
      __m128i codes = _mm_setr_epi32(
          (int)(words[0] & 0x3F3F3F3F), (int)((words[2] & low) | ((words[0] >> 6) & high) << 4),
          (int)(words[1] & 0x3F3F3F3F), (int)(((words[2] >> 4) & low) | ((words[1] >> 6) & high) << 4));
      return (head){_mm512_mul_ps(two_halves(at, at + 2), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes)))};
    }
    case FORM_Q6_K:
      return (head){_mm512_mul_ps(_mm512_cvtph_ps(half_bits(at + 208)),
                                  _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(at + 192)))))};
    default: return (head){zero()};
  }
}

/// The scales of a part's lanes, times those of x.
INLINE vec scale_of(const integer_form form, const head *head, int part, vec scale) {
  const __m512i pairs = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i fours = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  switch (form) {
    case FORM_I8_ROW: return scale;
    case FORM_Q4_K: return scale * _mm512_permutexvar_ps(_mm512_add_epi32(pairs, _mm512_set1_epi32(2 * part)), head->scales);
    case FORM_Q6_K: return scale * _mm512_permutexvar_ps(_mm512_add_epi32(fours, _mm512_set1_epi32(4 * part)), head->scales);
    default: return scale * head->scales;
  }
}

INLINE __m512i two_lots(const uint8_t *low, const uint8_t *high) {
  __m256i a = _mm256_loadu_si256((const __m256i *)low);
  return _mm512_inserti64x4(_mm512_castsi256_si512(a), _mm256_loadu_si256((const __m256i *)high), 1);
}
/// Sixteen bytes twice, and sixteen others twice.
INLINE __m512i two_twice(const uint8_t *low, const uint8_t *high) {
  __m512i a = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)low));
  return _mm512_mask_broadcast_i32x4(a, 0xFF00, _mm_loadu_si128((const __m128i *)high));
}

INLINE bytes read_bytes(const integer_form form, const uint8_t *at, int part) {
  const __m512i low = _mm512_set1_epi8(15);
  // Right by 0 and 4 bits in turns of sixteen bytes, and of 32.
  const __m512i turns = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
  const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4);
  switch (form) {
    case FORM_Q8_0: return _mm512_xor_si512(two_lots(at + 2, at + 36), _mm512_set1_epi8(-128));
    case FORM_I8_ROW: return _mm512_xor_si512(_mm512_loadu_si512(at + part * SPAN), _mm512_set1_epi8(-128));
    case FORM_Q4_0: return _mm512_and_si512(_mm512_srlv_epi32(two_twice(at + 2, at + 20), turns), low);
    case FORM_Q4_K: {
      __m512i both = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(at + 16 + 32 * part)));
      return _mm512_and_si512(_mm512_srlv_epi32(both, halves), low);
    }
    case FORM_Q6_K: {
      __m512i nibbles = _mm512_loadu_si512(at + 64 * (part / 2));
      if (part & 1) nibbles = _mm512_srli_epi16(nibbles, 4);
      __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(at + 128 + 32 * (part / 2))));
      // Two bits each, moved to bits 4 and 5.
      const __m512i pair = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
      if (part & 1) high = _mm512_srli_epi32(high, 4);
      high = _mm512_slli_epi32(_mm512_and_si512(_mm512_srlv_epi32(high, pair), _mm512_set1_epi8(3)), 4);
      return _mm512_or_si512(_mm512_and_si512(nibbles, low), high);
    }
    case FORM_I4_32: {
      __m512i q = _mm512_srlv_epi32(two_twice(at + 3, at + 22), turns);
      __m512i zeros = _mm512_mask_set1_epi8(_mm512_set1_epi8((char)at[2]), 0xFFFFFFFF00000000, (char)at[21]);
      return _mm512_sub_epi8(_mm512_or_si512(_mm512_and_si512(q, low), _mm512_set1_epi8(16)), zeros);
    }
    case FORM_I4_64: case FORM_I4_128: {
      __m512i q;
      if (form == FORM_I4_64) {
        q = _mm512_srlv_epi32(_mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(at + 3))), halves);
      } else {
        q = _mm512_loadu_si512(at + 3);
        if (part == 1) q = _mm512_srli_epi16(q, 4);
      }
      q = _mm512_or_si512(_mm512_and_si512(q, low), _mm512_set1_epi8(16));
      return _mm512_sub_epi8(q, _mm512_set1_epi8((char)at[2]));
    }
    default: return _mm512_setzero_si512();
  }
}

/// What makes the weight unsigned.
INLINE int offset_of(integer_form form) {
  switch (form) {
    case FORM_Q8_0: case FORM_I8_ROW: return 128;
    case FORM_Q4_0: return 8;
    case FORM_Q6_K: return 32;
    case FORM_I4_32: case FORM_I4_64: case FORM_I4_128: return 16;
    default: return 0;
  }
}
#include "integers_rows_avx512vnni.h"

#include "integers_body.h"
#include "integers_panels.h"
#include "panels_avx512vnni.h"

const lmoe_integer_kernels lmoe_integers_avx512vnni = {integer_rows, integer_panels, up_q8_0, down_q8_0};
#pragma clang attribute pop
#endif
