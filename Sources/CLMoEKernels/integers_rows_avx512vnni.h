// Stretches of the weight times few rows of x, with AVX-512 VNNI: four bytes of the weight, unsigned, and four of x are
// multiplied at once, with the high parts of x and with the low ones.

typedef x_row row_of_x;

/// The minima of runs of 32, two lanes each.
INLINE vec minima_of(const head *head) {
  return _mm512_permutexvar_ps(_mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15), head->scales);
}
/// The sums of sixteen elements of x each, times their scales.
INLINE vec x_totals(const x_row *x, size_t k) {
  __m512 scales = _mm512_castps256_ps512(_mm256_loadu_ps(x->scale + k / X_RUN));
  scales = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), scales);
  return scales * _mm512_cvtepi32_ps(_mm512_loadu_si512(x->sum + k / X_PART));
}
INLINE vec minus_product(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }

INLINE bytes load_bytes(const int8_t *from) { return _mm512_loadu_si512(from); }
/// The negative of what the offset adds to the sums.
INLINE vec_bits bias_of(const integer_form form, bytes high, bytes low) {
  const __m512i zero = _mm512_setzero_si512(), offset = _mm512_set1_epi8((char)offset_of(form));
  if (offset_of(form) == 0) return (vec_bits)zero;
  __m512i all = _mm512_slli_epi32(_mm512_dpbusd_epi32(zero, offset, high), LOW_BITS);
  return (vec_bits)_mm512_sub_epi32(zero, _mm512_dpbusd_epi32(all, offset, low));
}
INLINE vec_bits multiply_bytes(const integer_form form, bytes weight, bytes high, bytes low, vec_bits bias) {
  __m512i upper = _mm512_slli_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), weight, high), LOW_BITS);
  __m512i lower = _mm512_dpbusd_epi32((__m512i)bias, weight, low);
  (void)form;
  return (vec_bits)_mm512_add_epi32(upper, lower);
}
INLINE vec to_floats(vec_bits sums) { return _mm512_cvtepi32_ps((__m512i)sums); }

/// The scales of two runs of x, eight lanes each.
INLINE vec x_scale(const float *from) {
  double both;
  memcpy(&both, from, 8);
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                               _mm512_castpd_ps(_mm512_castpd128_pd512(_mm_set_sd(both))));
}

/// Four blocks of Q4_0 of each of four rows at once: the first halves of the blocks lie in the low bits, the second in
/// the high ones, so that a lane has twice four elements of one block.
INLINE void add_wide_q4_0(const int rows, const uint8_t *const *weight, const x_row *x, size_t k, vec sum[][COLUMNS]) {
  enum { BYTES = 18 };
  const __m512i fours = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i low = _mm512_set1_epi8(15);
  // The high parts of x, and the low ones.
  __m512i first[ROWS_AT_ONCE][2], second[ROWS_AT_ONCE][2], bias[ROWS_AT_ONCE];
  vec scale[ROWS_AT_ONCE];
  EACH(r, rows) {
    EACH(part, 2) {
      const int8_t *from = (part == 0 ? x[r].high : x[r].low) + k;
      __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + 64);
      first[r][part] = _mm512_shuffle_i64x2(a, b, 0x88);
      second[r][part] = _mm512_shuffle_i64x2(a, b, 0xDD);
    }
    const __m512i zero = _mm512_setzero_si512(), offset = _mm512_set1_epi8(8);
    __m512i all = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, offset, first[r][0]), offset, second[r][0]);
    all = _mm512_slli_epi32(all, LOW_BITS);
    all = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(all, offset, first[r][1]), offset, second[r][1]);
    bias[r] = _mm512_sub_epi32(zero, all);
    scale[r] = _mm512_permutexvar_ps(fours, _mm512_castps128_ps512(_mm_loadu_ps(x[r].scale + k / X_RUN)));
  }
  EACH(c, COLUMNS) {
    const uint8_t *at = weight[c];
    // The scales go the way of integers, which has room.
    uint64_t halves = 0;
    EACH(b, 4) {
      uint16_t half;
      memcpy(&half, at + b * BYTES, 2);
      halves |= (uint64_t)half << (16 * b);
    }
    vec factor = _mm512_permutexvar_ps(
        fours, _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi64_si128((long long)halves))));
    __m512i q = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(at + 2)));
    q = _mm512_mask_broadcast_i32x4(q, 0x00F0, _mm_loadu_si128((const __m128i *)(at + 2 + BYTES)));
    q = _mm512_mask_broadcast_i32x4(q, 0x0F00, _mm_loadu_si128((const __m128i *)(at + 2 + 2 * BYTES)));
    q = _mm512_mask_broadcast_i32x4(q, 0xF000, _mm_loadu_si128((const __m128i *)(at + 2 + 3 * BYTES)));
    const __m512i lower = _mm512_and_si512(q, low), upper = _mm512_and_si512(_mm512_srli_epi16(q, 4), low);
    EACH(r, rows) {
      __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), lower, first[r][0]);
      high = _mm512_slli_epi32(_mm512_dpbusd_epi32(high, upper, second[r][0]), LOW_BITS);
      __m512i rest = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(bias[r], lower, first[r][1]), upper, second[r][1]);
      __m512i product = _mm512_add_epi32(high, rest);
      sum[r][c] = multiply_add(_mm512_cvtepi32_ps(product), factor * scale[r], sum[r][c]);
    }
  }
}

/// Whether two stretches are taken at once.
INLINE int has_wide(integer_form form) { return form == FORM_Q4_0; }

INLINE void add_stretch(const int rows, const integer_form form, const int wide, const uint8_t *const *weight,
                        const row_of_x *x, size_t k, vec sum[][COLUMNS]) {
  if (wide) {
    add_wide_q4_0(rows, weight, x, k, sum);
    return;
  }
  head heads[COLUMNS];
  EACH(c, COLUMNS) heads[c] = read_head(form, weight[c]);
  const int parts = stretch_elements(form) / SPAN;
  EACH(part, parts) {
    bytes high[ROWS_AT_ONCE], low[ROWS_AT_ONCE];
    vec_bits bias[ROWS_AT_ONCE];
    vec scale[ROWS_AT_ONCE];
    EACH(r, rows) {
      high[r] = load_bytes(x[r].high + k + part * SPAN);
      low[r] = load_bytes(x[r].low + k + part * SPAN);
      bias[r] = bias_of(form, high[r], low[r]);
      scale[r] = x_scale(x[r].scale + (k + part * SPAN) / X_RUN);
    }
    EACH(c, COLUMNS) {
      bytes q = read_bytes(form, weight[c], part);
      EACH(r, rows) {
        vec product = to_floats(multiply_bytes(form, q, high[r], low[r], bias[r]));
        sum[r][c] = multiply_add(product, scale_of(form, &heads[c], part, scale[r]), sum[r][c]);
      }
    }
  }
  if (form == FORM_Q4_K) {
    EACH(r, rows) {
      vec total = x_totals(&x[r], k);
      EACH(c, COLUMNS) sum[r][c] = minus_product(minima_of(&heads[c]), total, sum[r][c]);
    }
  }
}

/// A row may end in a block that fills half of what is taken at once: then two rows' last blocks are.
#define HAS_LAST_BLOCK
INLINE int has_last_block(integer_form form) { return form == FORM_Q8_0 || form == FORM_Q4_0; }

INLINE void add_last_block(const int rows, const integer_form form, const uint8_t *const *weight, const x_row *x,
                           size_t k, vec sum[][COLUMNS]) {
  EACH(pair, COLUMNS / 2) {
    const uint8_t *lower = weight[2 * pair], *upper = weight[2 * pair + 1];
    const vec scales = two_halves(lower, upper);
    __m512i q;
    if (form == FORM_Q8_0) {
      q = _mm512_xor_si512(two_lots(lower + 2, upper + 2), _mm512_set1_epi8(-128));
    } else {
      const __m512i turns = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
      q = _mm512_and_si512(_mm512_srlv_epi32(two_twice(lower + 2, upper + 2), turns), _mm512_set1_epi8(15));
    }
    EACH(r, rows) {
      const bytes high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(x[r].high + k)));
      const bytes low = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(x[r].low + k)));
      const vec product = to_floats(multiply_bytes(form, q, high, low, bias_of(form, high, low)));
      const vec scale = scales * splat(x[r].scale[k / X_RUN]);
      sum[r][2 * pair] = _mm512_mask3_fmadd_ps(product, scale, sum[r][2 * pair], 0x00FF);
      sum[r][2 * pair + 1] = _mm512_mask3_fmadd_ps(product, scale, sum[r][2 * pair + 1], 0xFF00);
    }
  }
}
