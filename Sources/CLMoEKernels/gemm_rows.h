// Products with few rows: straight from the weight as it is stored, at the pace of memory. A part of every
// instruction set's translation unit.
//
// Sums of four columns at a time over LANES partial sums each (the weight is columns x depth), or of whole vectors
// of columns (depth x columns). Each sum is computed in the same order in whatever block it is.

enum { DOTS = 4 };

/// The sums of `rows` rows of x with `count` <= DOTS rows of the weight.
static inline __attribute__((always_inline)) void dots(const int rows, const int kind, const float *x,
                                                       ptrdiff_t x_stride, const char *weight, ptrdiff_t stride,
                                                       size_t count, size_t depth, float *y, ptrdiff_t y_stride,
                                                       int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  // Rows that are not there are read as the first, and their sums dropped.
  const char *w[DOTS];
  for (size_t c = 0; c < DOTS; c++) w[c] = weight + (c < count ? (ptrdiff_t)c * stride : 0);
  vec sum[ROWS_AT_ONCE][DOTS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int c = 0; c < DOTS; c++) sum[r][c] = zero();
  }
  size_t k = 0;
  for (; k + LANES <= depth; k += LANES) {
    vec value[ROWS_AT_ONCE];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) value[r] = load(x + r * x_stride + k);
#pragma clang loop unroll(full)
    for (int c = 0; c < DOTS; c++) {
      vec factor = load_weight(w[c] + k * width, kind);
      __builtin_prefetch(w[c] + k * width + AHEAD, 0, 3);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) sum[r][c] = multiply_add(value[r], factor, sum[r][c]);
    }
  }
  if (k < depth) {
    vec value[ROWS_AT_ONCE];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) value[r] = load_part(x + r * x_stride + k, depth - k);
#pragma clang loop unroll(full)
    for (int c = 0; c < DOTS; c++) {
      vec factor = load_weight_part(w[c] + k * width, depth - k, kind);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) sum[r][c] = multiply_add(value[r], factor, sum[r][c]);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    four all = sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    float *to = y + r * y_stride;
    if (count == DOTS) {
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

/// `vectors` vectors of columns of `rows` rows of y (+)= x times the weight, of whose last vector `last` columns are there.
static inline __attribute__((always_inline)) void combine(const int rows, const int vectors, const int kind,
                                                          const float *x, ptrdiff_t x_stride, const char *weight,
                                                          ptrdiff_t stride, size_t last, size_t depth, float *y,
                                                          ptrdiff_t y_stride, int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  vec sum[ROWS_AT_ONCE][VECTORS_AT_ONCE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const float *from = y + r * y_stride + v * LANES;
      sum[r][v] = !accumulates ? zero() : v < vectors - 1 || last == LANES ? load(from) : load_part(from, last);
    }
  }
  for (size_t k = 0; k < depth; k++, weight += stride) {
    vec factor[ROWS_AT_ONCE];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) factor[r] = splat(x[r * x_stride + (ptrdiff_t)k]);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const char *from = weight + (size_t)v * LANES * width;
      vec value = v < vectors - 1 || last == LANES ? load_weight(from, kind) : load_weight_part(from, last, kind);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) sum[r][v] = multiply_add(factor[r], value, sum[r][v]);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      float *to = y + r * y_stride + v * LANES;
      if (v < vectors - 1 || last == LANES) store(to, sum[r][v]); else store_part(to, sum[r][v], last);
    }
  }
}

/// Columns [first, end) of `rows` rows of y (+)= one term.
static inline __attribute__((always_inline)) void one_term(const int rows, const int kind, const lmoe_term *term,
                                                           size_t row, size_t first, size_t end, float *y,
                                                           ptrdiff_t y_stride, int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  const ptrdiff_t stride = term->weight_stride * (ptrdiff_t)width;
  const float *x = term->x + (ptrdiff_t)row * term->x_stride;
  const char *weight = term->weight;
  y += (ptrdiff_t)row * y_stride;
  if (term->is_transposed) {
    for (size_t j = first; j < end; j += DOTS)
      dots(rows, kind, x, term->x_stride, weight + (ptrdiff_t)j * stride, stride,
           end - j < DOTS ? end - j : DOTS, term->depth, y + j, y_stride, accumulates);
    return;
  }
  size_t j = first;
  for (; j + VECTORS_AT_ONCE * LANES <= end; j += VECTORS_AT_ONCE * LANES)
    combine(rows, VECTORS_AT_ONCE, kind, x, term->x_stride, weight + j * width, stride, LANES, term->depth, y + j,
            y_stride, accumulates);
  for (; j < end; j += LANES)
    combine(rows, 1, kind, x, term->x_stride, weight + j * width, stride, end - j < LANES ? end - j : LANES,
            term->depth, y + j, y_stride, accumulates);
}

typedef void term_function(const lmoe_term *term, size_t row, size_t first, size_t end, float *y,
                           ptrdiff_t y_stride, int accumulates);
#define TERM(rows, kind)                                                                                  \
  static void term_##rows##_##kind(const lmoe_term *term, size_t row, size_t first, size_t end, float *y, \
                                   ptrdiff_t y_stride, int accumulates) {                                 \
    one_term(rows, kind, term, row, first, end, y, y_stride, accumulates);                                \
  }
#define TERMS(rows) TERM(rows, LMOE_F32) TERM(rows, LMOE_F16) TERM(rows, LMOE_BF16)
TERMS(1) TERMS(2) TERMS(3)
#if ROWS_AT_ONCE > 3
TERMS(4)
#endif
#undef TERM
#undef TERMS

#define KINDS(rows) {term_##rows##_LMOE_F32, term_##rows##_LMOE_F16, term_##rows##_LMOE_BF16}
static term_function *const term_functions[ROWS_AT_ONCE][3] = {
    KINDS(1), KINDS(2), KINDS(3),
#if ROWS_AT_ONCE > 3
    KINDS(4),
#endif
};
#undef KINDS

static void gemm_rows(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                      ptrdiff_t y_stride, int accumulates) {
  // In blocks of columns, so that the sums of one term are at hand for the next.
  for (size_t j = first; j < end; j += COLUMNS_AT_ONCE) {
    size_t block_end = end - j < COLUMNS_AT_ONCE ? end : j + COLUMNS_AT_ONCE;
    size_t passes = (m + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
    for (size_t pass = 0; pass < passes; pass++) {
      size_t row = m * pass / passes, rows = m * (pass + 1) / passes - row;
      for (size_t t = 0; t < term_count; t++) {
        term_functions[rows - 1][terms[t].kind - LMOE_F32](&terms[t], row, j, block_end, y, y_stride,
                                                           accumulates || t > 0);
      }
    }
  }
}
