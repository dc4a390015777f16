// Products with few rows of x, straight from the blocks: four rows of the weight at a time, a stretch of whole blocks
// after the other. A part of an instruction set's translation unit, which says before what a stretch is and adds one:
//
//   row_of_x                                  a row of x
//   has_wide(form)                            whether two stretches are taken at once
//   add_stretch(rows, form, wide, weight, x, k, sum)
//                                             adds a stretch, or a `wide` one of two, of four rows of the weight times
//                                             `rows` rows of x from element k on
//   has_last_block, add_last_block            what is left of a stretch, if HAS_LAST_BLOCK is defined
//   row_with_pairs, PAIRS_AT_ONCE             makes a row_of_x of so many elements, if that is not x_row

enum { NEAR = 1 << 14 };

/// The sums of `rows` rows of x with `count` <= COLUMNS rows of the weight, of their elements [start, start + depth).
INLINE void integer_dots(const int rows, const integer_form form, const row_of_x *x, const uint8_t *weight,
                         size_t stride, size_t ahead, size_t count, const size_t start, size_t depth, float *y,
                         ptrdiff_t y_stride, int accumulates) {
  const int wide = has_wide(form);
  const size_t stretch = (size_t)stretch_elements(form), elements = wide ? 2 * stretch : stretch;
  const size_t width = elements / form_elements(form) * form_bytes(form);
  // Rows that are not there are read as the first, and their sums dropped.
  const uint8_t *w[COLUMNS];
  const size_t skipped = form_head(form) + start / form_elements(form) * form_bytes(form);
  EACH(c, COLUMNS) w[c] = weight + ((size_t)c < count ? (size_t)c * stride : 0) + skipped;
  vec sum[ROWS_AT_ONCE][COLUMNS];
  EACH(r, rows) {
    EACH(c, COLUMNS) sum[r][c] = zero();
  }
  const uint8_t *next = weight + ahead;
  size_t k = 0;
  for (; k + elements <= depth; k += elements) {
    // Rows to come lie behind each other: they are asked for in that order.
    for (size_t line = 0; line < COLUMNS * width; line += 64) __builtin_prefetch(next + line, 0, 3);
    next += COLUMNS * width;
    add_stretch(rows, form, wide, w, x, k, sum);
    EACH(c, COLUMNS) w[c] += width;
  }
  if (wide && k + stretch <= depth) {
    add_stretch(rows, form, 0, w, x, k, sum);
    EACH(c, COLUMNS) w[c] += width / 2;
    k += stretch;
  }
#if defined(HAS_LAST_BLOCK)
  if (has_last_block(form) && depth - k == X_RUN) {
    add_last_block(rows, form, w, x, k, sum);
    k = depth;
  }
#endif
  if (k < depth) {
    // What is left of a stretch, filled up with zeros.
    uint8_t rest[COLUMNS][MOST_STRETCH_BYTES];
    const size_t left = (depth - k) / form_elements(form) * form_bytes(form);
    EACH(c, COLUMNS) {
      memset(rest[c], 0, sizeof rest[c]);
      memcpy(rest[c], w[c], left);
      w[c] = rest[c];
    }
    // x is filled up as far as one stretch goes.
    add_stretch(rows, form, 0, w, x, k, sum);
  }
  EACH(r, rows) {
    four all = sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    if (form == FORM_I8_ROW) {
      four factors;
      EACH(c, COLUMNS) memcpy((char *)&factors + 4 * c, weight + ((size_t)c < count ? (size_t)c * stride : 0), 4);
      all *= factors;
    }
    float *to = y + r * y_stride;
    if (count == COLUMNS) {
      if (accumulates) {
        four old;
        memcpy(&old, to, sizeof old);
        all += old;
      }
      memcpy(to, &all, sizeof all);
    } else {
      for (size_t c = 0; c < count; c++) to[c] = accumulates ? to[c] + all[c] : all[c];
    }
  }
}

/// Bytes of a row of the weight.
INLINE size_t row_bytes(const lmoe_term *term, integer_form form) {
  return form_head(form) + (size_t)term->weight_stride / form_elements(form) * form_bytes(form);
}

/// Columns [first, end) of `rows` rows of y (+)= one term.
INLINE void some_rows(const int rows, const integer_form form,
                                                            const lmoe_term *term, size_t row, size_t first, size_t end,
                                                            float *y, ptrdiff_t y_stride, int accumulates) {
  const size_t stride = row_bytes(term, form);
  // The same place of the rows to come.
  const size_t ahead = stride == 0 ? 0 : (AHEAD / (COLUMNS * stride) + 1) * COLUMNS * stride;
  x_row x[ROWS_AT_ONCE];
  EACH(r, rows) x[r] = x_row_at(term->x_integers, row + (size_t)r, term->depth);
  const uint8_t *weight = term->weight;
  y += (ptrdiff_t)row * y_stride;
#if defined(PAIRS_AT_ONCE)
  size_t start = 0;
  do {
    const size_t depth = term->depth - start < PAIRS_AT_ONCE ? term->depth - start : PAIRS_AT_ONCE;
    row_room room[ROWS_AT_ONCE];
    row_of_x own[ROWS_AT_ONCE];
    EACH(r, rows) own[r] = row_with_pairs(form, &x[r], start, depth, &room[r]);
    for (size_t j = first; j < end; j += COLUMNS)
      integer_dots(rows, form, own, weight + j * stride, stride, ahead, end - j < COLUMNS ? end - j : COLUMNS, start,
                   depth, y + j, y_stride, accumulates || start > 0);
    start += depth;
  } while (start < term->depth);
#else
  for (size_t j = first; j < end; j += COLUMNS)
    integer_dots(rows, form, x, weight + j * stride, stride, ahead, end - j < COLUMNS ? end - j : COLUMNS, 0, term->depth,
                 y + j, y_stride, accumulates);
#endif
}

typedef void rows_function(const lmoe_term *term, size_t row, size_t first, size_t end, float *y, ptrdiff_t y_stride,
                           int accumulates);
#define SOME(rows, form)                                                                                         \
  static void some_##rows##_##form(const lmoe_term *term, size_t row, size_t first, size_t end, float *y,        \
                                   ptrdiff_t y_stride, int accumulates) {                                        \
    some_rows(rows, form, term, row, first, end, y, y_stride, accumulates);                                      \
  }
#define ALL(rows)                                                                                                \
  SOME(rows, FORM_Q8_0) SOME(rows, FORM_Q4_0) SOME(rows, FORM_Q4_K) SOME(rows, FORM_Q6_K) SOME(rows, FORM_I8_ROW) \
  SOME(rows, FORM_I4_32) SOME(rows, FORM_I4_64) SOME(rows, FORM_I4_128)
#define NAMES(rows)                                                                                              \
  {some_##rows##_FORM_Q8_0, some_##rows##_FORM_Q4_0, some_##rows##_FORM_Q4_K, some_##rows##_FORM_Q6_K,           \
   some_##rows##_FORM_I8_ROW, some_##rows##_FORM_I4_32, some_##rows##_FORM_I4_64, some_##rows##_FORM_I4_128}
ALL(1) ALL(2)
#if ROWS_AT_ONCE > 2
ALL(3)
#endif
#if ROWS_AT_ONCE > 3
ALL(4)
#endif
static rows_function *const rows_functions[ROWS_AT_ONCE][FORMS] = {
    NAMES(1), NAMES(2),
#if ROWS_AT_ONCE > 2
    NAMES(3),
#endif
#if ROWS_AT_ONCE > 3
    NAMES(4),
#endif
};
#undef SOME
#undef ALL
#undef NAMES

static void integer_rows(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y,
                         ptrdiff_t y_stride, int accumulates) {
  const size_t passes = (m + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  // Where there are several passes, each over a part of the weight that the nearest cache still has.
  size_t block = end - first;
  if (passes > 1) {
    block = NEAR / (row_bytes(term, form) + 1) / COLUMNS * COLUMNS;
    if (block < COLUMNS) block = COLUMNS;
  }
  for (size_t j = first; j < end; j += block) {
    size_t block_end = end - j < block ? end : j + block;
    for (size_t pass = 0; pass < passes; pass++) {
      size_t row = m * pass / passes, rows = m * (pass + 1) / passes - row;
      rows_functions[rows - 1][form](term, row, j, block_end, y, y_stride, accumulates);
    }
  }
}
