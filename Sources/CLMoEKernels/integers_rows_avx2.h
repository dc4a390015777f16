// Stretches of the weight times few rows of x, with AVX2. Weight and x are multiplied as pairs of integers of sixteen
// bits. Bytes that hold nibbles become such integers by shifting and masking, which leaves every first of 32 elements
// in one vector and every second in the other; bytes that are the elements are widened half by half.

/// 32 elements: every first and every second of them, or the first half and the second.
typedef struct {
  __m256i even, odd;
} pairs;

enum { WIDE = 2 * X_RUN };

/// What is multiplied with two blocks of Q4_0 at once: 128 bits of every vector are of the one run, 128 of the other.
/// Pairs of the first half of their elements and of the second, their scales, and eight times their sums.
typedef struct {
  pairs first, second;
  vec scale;
  __m256i eight;
} two_runs;

/// A row of x, with its integers as pairs; two runs at a time where blocks are taken so, all but a last one.
typedef struct {
  const two_runs *two;
  const int16_t *pairs;
  const float *scale;
  const int32_t *sum;
} row_of_x;

/// The memory for it.
typedef union {
  two_runs two[PAIRS_AT_ONCE / WIDE + 1];
  int16_t pairs[PAIRS_AT_ONCE];
} row_room;

INLINE pairs pairs_of_bytes(__m256i all) {
  return (pairs){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}

/// A run of x.
INLINE pairs pairs_of_run(const x_row *x, size_t run) {
  const __m256i high = _mm256_loadu_si256((const __m256i *)(x->high + run * X_RUN));
  const pairs low = pairs_of_bytes(_mm256_loadu_si256((const __m256i *)(x->low + run * X_RUN)));
  // Times 2^LOW_BITS.
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(high, 8), 8 - LOW_BITS);
  const __m256i odd = _mm256_slli_epi16(_mm256_srai_epi16(high, 8), LOW_BITS);
  return (pairs){_mm256_add_epi16(even, low.even), _mm256_add_epi16(odd, low.odd)};
}
/// The same as halves.
INLINE pairs halves_of_run(const x_row *x, size_t run) {
  const pairs own = pairs_of_run(x, run);
  const __m256i a = _mm256_unpacklo_epi16(own.even, own.odd), b = _mm256_unpackhi_epi16(own.even, own.odd);
  return (pairs){_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}
INLINE void store_pairs(int16_t *to, pairs value) {
  _mm256_storeu_si256((__m256i *)to, value.even);
  _mm256_storeu_si256((__m256i *)(to + X_RUN / 2), value.odd);
}
INLINE pairs load_pairs(const int16_t *from) {
  return (pairs){_mm256_loadu_si256((const __m256i *)from), _mm256_loadu_si256((const __m256i *)(from + X_RUN / 2))};
}

/// The sums of all products with eight, the offset of Q4_0, by lanes.
INLINE __m256i eight_times(pairs all) {
  const __m256i eight = _mm256_set1_epi16(8);
  return _mm256_add_epi32(_mm256_madd_epi16(all.even, eight), _mm256_madd_epi16(all.odd, eight));
}

INLINE two_runs two_runs_of(const x_row *x, size_t run) {
  const pairs a = pairs_of_run(x, run), b = pairs_of_run(x, run + 1);
  two_runs both;
  both.first = (pairs){_mm256_permute2x128_si256(a.even, b.even, 0x20), _mm256_permute2x128_si256(a.odd, b.odd, 0x20)};
  both.second = (pairs){_mm256_permute2x128_si256(a.even, b.even, 0x31), _mm256_permute2x128_si256(a.odd, b.odd, 0x31)};
  both.scale = _mm256_set_m128(_mm_set1_ps(x->scale[run + 1]), _mm_set1_ps(x->scale[run]));
  both.eight = _mm256_add_epi32(eight_times(both.first), eight_times(both.second));
  return both;
}

/// Whether two stretches are taken at once.
INLINE int has_wide(integer_form form) { return form == FORM_Q4_0; }
/// Whether elements lie as halves.
INLINE int has_halves(integer_form form) { return form == FORM_Q8_0 || form == FORM_I8_ROW; }

/// A row of x from element `from` on, `depth` <= PAIRS_AT_ONCE elements.
INLINE row_of_x row_with_pairs(const integer_form form, const x_row *x, size_t from, size_t depth, row_room *room) {
  const size_t first = from / X_RUN, two = has_wide(form) ? depth / WIDE : 0;
  row_of_x row = {room->two, (int16_t *)(room->two + two) - two * WIDE, x->scale + first, x->sum + from / X_PART};
  for (size_t i = 0; i < two; i++) room->two[i] = two_runs_of(x, first + 2 * i);
  int16_t *to = (int16_t *)(room->two + two);
  // A stretch goes beyond the depth where that is no multiple of it: x is filled up with zeros.
  for (size_t k = two * WIDE; k < (has_wide(form) ? depth : x_padded(depth)); k += X_RUN, to += X_RUN)
    store_pairs(to, has_halves(form) ? halves_of_run(x, (from + k) / X_RUN) : pairs_of_run(x, (from + k) / X_RUN));
  return row;
}

INLINE __m256i shifted(__m256i all, int below, int above) {
  return _mm256_srlv_epi32(all, _mm256_setr_epi32(below, below, below, below, above, above, above, above));
}

/// 32 elements of the weight, with the offset that Q4_0 has.
INLINE pairs read_pairs(const integer_form form, const uint8_t *at, int part) {
  const __m256i nibble = _mm256_set1_epi16(15);
  pairs all;
  switch (form) {
    case FORM_Q4_0: case FORM_I4_32: {
      const __m256i q = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(at + (form == FORM_Q4_0 ? 2 : 3))));
      all = (pairs){_mm256_and_si256(shifted(q, 0, 4), nibble), _mm256_and_si256(shifted(q, 8, 12), nibble)};
      break;
    }
    case FORM_Q4_K: case FORM_I4_64: case FORM_I4_128: {
      const int lots = form == FORM_I4_128 ? 2 : 1;
      const int is_upper = form == FORM_Q4_K ? part & 1 : part / lots;
      const __m256i q = load_some(form == FORM_Q4_K ? at + 16 + 32 * (part / 2) : at + 3 + 32 * (part % lots));
      all.even = _mm256_and_si256(is_upper ? _mm256_srli_epi16(q, 4) : q, nibble);
      all.odd = is_upper ? _mm256_srli_epi16(q, 12) : _mm256_and_si256(_mm256_srli_epi16(q, 8), nibble);
      break;
    }
    case FORM_Q8_0: case FORM_I8_ROW: {
      // Halves.
      const uint8_t *from = form == FORM_Q8_0 ? at + 2 : at;
      return (pairs){_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from)),
                     _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(from + 16)))};
    }
    default: return pairs_of_bytes(read_bytes(form, at, part));
  }
  if (form == FORM_I4_32 || form == FORM_I4_64 || form == FORM_I4_128) {
    const __m256i zero_point = _mm256_set1_epi16(at[2]);
    all = (pairs){_mm256_sub_epi16(all.even, zero_point), _mm256_sub_epi16(all.odd, zero_point)};
  }
  return all;
}

/// The scales of the blocks of four rows, as they are stored. They go the way of integers, which has room.
INLINE long long four_scales(const uint8_t *const at[COLUMNS], size_t offset) {
  uint64_t halves = 0;
  for (int c = 0; c < COLUMNS; c++) {
    uint16_t half;
    memcpy(&half, at[c] + offset, sizeof half);
    halves |= (uint64_t)half << (16 * c);
  }
  return (long long)halves;
}

/// What the integers of two blocks of Q4_0 and two runs of x make together.
INLINE __m256i product_of_two(const uint8_t *at, const two_runs *x) {
  const __m128i a = _mm_loadu_si128((const __m128i *)(at + 2)), b = _mm_loadu_si128((const __m128i *)(at + 20));
  const __m256i all = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1), nibble = _mm256_set1_epi16(15);
  __m256i sum = _mm256_madd_epi16(_mm256_and_si256(all, nibble), x->first.even);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(_mm256_srli_epi16(all, 8), nibble), x->first.odd));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(_mm256_srli_epi16(all, 4), nibble), x->second.even));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(all, 12), x->second.odd));
  return _mm256_sub_epi32(sum, x->eight);
}

/// Adds two blocks of four rows of a weight of Q4_0 times `rows` rows of x from element k on.
INLINE void add_two_blocks(const int rows, const uint8_t *const weight[COLUMNS], const row_of_x *x, size_t k,
                           vec sum[][COLUMNS]) {
  const vec scales = _mm256_cvtph_ps(_mm_set_epi64x(four_scales(weight, 18), four_scales(weight, 0)));
  vec own[ROWS_AT_ONCE];
  EACH(r, rows) own[r] = scales * x[r].two[k / WIDE].scale;
#define ADD(c)                                                                              \
  EACH(r, rows) {                                                                           \
    const vec product = _mm256_cvtepi32_ps(product_of_two(weight[c], &x[r].two[k / WIDE])); \
    sum[r][c] = multiply_add(product, _mm256_permute_ps(own[r], 0x55 * c), sum[r][c]);      \
  }
  ADD(0) ADD(1) ADD(2) ADD(3)
#undef ADD
}

/// Adds a stretch of four rows of the weight times `rows` rows of x from element k on.
INLINE void add_one_stretch(const int rows, const integer_form form, const uint8_t *const weight[COLUMNS],
                            const row_of_x *x, size_t k, vec sum[][COLUMNS]) {
  enum { PARTS = 8 };
  const int parts = stretch_elements(form) / SPAN;
  const int has_heads = form == FORM_Q4_K || form == FORM_Q6_K, is_plain = form == FORM_I8_ROW;
  head heads[COLUMNS];
  float factors[ROWS_AT_ONCE][PARTS][COLUMNS], of_parts[ROWS_AT_ONCE][COLUMNS][PARTS];
  if (has_heads) {
    EACH(c, COLUMNS) heads[c] = read_head(form, weight[c]);
  } else if (!is_plain) {
    const __m128 scales = _mm_cvtph_ps(_mm_cvtsi64_si128(four_scales(weight, 0)));
    EACH(r, rows) {
      EACH(part, parts) _mm_storeu_ps(factors[r][part], scales * _mm_set1_ps(x[r].scale[k / X_RUN + (size_t)part]));
    }
  }
  if (form == FORM_Q4_K) {
    EACH(r, rows) {
      EACH(c, COLUMNS) store(of_parts[r][c], heads[c].scales * load(x[r].scale + k / X_RUN));
    }
  }
  EACH(part, parts) {
    pairs own[ROWS_AT_ONCE];
    __m256i eight[ROWS_AT_ONCE];
    EACH(r, rows) {
      own[r] = load_pairs(x[r].pairs + k + part * SPAN);
      if (form == FORM_Q4_0) eight[r] = eight_times(own[r]);
    }
    EACH(c, COLUMNS) {
      const pairs q = read_pairs(form, weight[c], part);
      EACH(r, rows) {
        __m256i product = _mm256_madd_epi16(q.even, own[r].even);
        if (form == FORM_Q4_0) product = _mm256_sub_epi32(product, eight[r]);
        product = _mm256_add_epi32(product, _mm256_madd_epi16(q.odd, own[r].odd));
        const vec factor = form == FORM_Q4_K ? splat(of_parts[r][c][part])
                           : has_heads || is_plain
                               ? scale_of(form, &heads[c], part, splat(x[r].scale[k / X_RUN + (size_t)part]))
                               : splat(factors[r][part][c]);
        sum[r][c] = multiply_add(_mm256_cvtepi32_ps(product), factor, sum[r][c]);
      }
    }
  }
  if (form == FORM_Q4_K) {
    EACH(r, rows) {
      const vec total = x_totals(x[r].scale + k / X_RUN, x[r].sum + k / X_PART);
      EACH(c, COLUMNS) sum[r][c] = minus_product(heads[c].more, total, sum[r][c]);
    }
  }
}

INLINE void add_stretch(const int rows, const integer_form form, const int wide, const uint8_t *const *weight,
                        const row_of_x *x, size_t k, vec sum[][COLUMNS]) {
  if (wide)
    add_two_blocks(rows, weight, x, k, sum);
  else
    add_one_stretch(rows, form, weight, x, k, sum);
}
