// Products with few rows: straight from the weight as it is stored, at the pace of memory. A part of every
// instruction set's translation unit.
//
// Sums of four columns at a time over LANES partial sums each (the weight is columns x depth), or of whole vectors
// of columns (depth x columns). Each sum is computed in the same order in whatever block it is.

enum { DOTS = 4, NEAR = 1 << 14 };

/// Where registers are few: loads stay behind what came before them, so that no sum is put away in memory.
#if LANES_ARE_FEW
#define IN_ORDER(sum) __asm__ volatile("" : "+x"(sum)::"memory")
#else
#define IN_ORDER(sum)
#endif

/// For a small constant number of times, unrolled.
#define EACH(i, count) _Pragma("clang loop unroll(full)") for (int i = 0; i < (count); i++)

/// Adds the products from k on, fewer than LANES.
static __attribute__((noinline)) four add_rest(four sums, int kind, const float *x, const char *const w[DOTS],
                                               size_t k, size_t depth) {
  float factors[LANES] = {0}, values[LANES] = {0};
  memcpy(values, x + k, (depth - k) * sizeof(float));
  for (int c = 0; c < DOTS; c++) {
    store(factors, load_weight_part(w[c] + k * (kind == LMOE_F32 ? 4 : 2), depth - k, kind));
    for (int i = 0; i < LANES; i++) sums[c] += values[i] * factors[i];
  }
  return sums;
}

/// The sums of `rows` rows of x with `count` <= DOTS rows of the weight. Meanwhile memory is asked for what comes later:
/// for `asks` lines with every DOTS that are read, from `ahead` bytes further on.
static inline __attribute__((always_inline)) void dots(const int rows, const int kind, const int asks, const float *x,
                                                       ptrdiff_t x_stride, const char *weight, ptrdiff_t stride,
                                                       ptrdiff_t ahead, size_t count, size_t depth, float *y,
                                                       ptrdiff_t y_stride, int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  enum { LINE = 64 };
  const int steps = (int)(LINE / (LANES * width));
  // Rows that are not there are read as the first, and their sums dropped.
  const char *w[DOTS];
  for (size_t c = 0; c < DOTS; c++) w[c] = weight + (c < count ? (ptrdiff_t)c * stride : 0);
  vec sum[ROWS_AT_ONCE][DOTS];
  EACH(r, rows) {
    EACH(c, DOTS) sum[r][c] = zero();
  }
  // Rows to come lie behind each other: they are asked for in that order, or the same place of each.
  const char *next = weight + ahead;
  size_t k = 0;
  for (; k + LINE / width <= depth; k += LINE / width) {
    if (asks == DOTS) {
      EACH(c, DOTS) __builtin_prefetch(ASKS_IN_ORDER ? next + LINE * c : w[c] + k * width + ahead, 0, 3);
    } else {
      EACH(c, asks) __builtin_prefetch(next + LINE * c, 0, 2);
    }
    next += asks * LINE;
    EACH(s, steps) {
      vec value[ROWS_AT_ONCE];
      EACH(r, rows) value[r] = load(x + r * x_stride + k + s * LANES);
      EACH(c, DOTS) {
        vec factor = load_weight(w[c] + (k + s * LANES) * width, kind);
        EACH(r, rows) sum[r][c] = multiply_add(value[r], factor, sum[r][c]);
        EACH(r, rows) IN_ORDER(sum[r][c]);
      }
    }
  }
  for (; k + LANES <= depth; k += LANES) {
    EACH(c, DOTS) {
      vec factor = load_weight(w[c] + k * width, kind);
      EACH(r, rows) {
        sum[r][c] = multiply_add(load(x + r * x_stride + k), factor, sum[r][c]);
        IN_ORDER(sum[r][c]);
      }
    }
  }
  EACH(r, rows) {
    four all = sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    if (k < depth) all = add_rest(all, kind, x + r * x_stride, w, k, depth);
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

/// `vectors` vectors of columns of `rows` rows of y (+)= x times the weight; with a `count` < LANES (and one vector) only
/// so many columns.
static inline __attribute__((always_inline)) void combine(const int rows, const int vectors, const int kind,
                                                          const float *x, ptrdiff_t x_stride, const char *weight,
                                                          ptrdiff_t stride, const int is_part, size_t count,
                                                          size_t depth, float *y, ptrdiff_t y_stride,
                                                          int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  const ptrdiff_t ahead = (AHEAD / (vectors * LANES * (ptrdiff_t)width)) * stride;
  vec sum[ROWS_AT_ONCE][MOST_VECTORS];
  EACH(r, rows) {
    EACH(v, vectors) {
      const float *from = y + r * y_stride + v * LANES;
      sum[r][v] = !accumulates ? zero() : is_part ? load_part(from, count) : load(from);
    }
  }
  for (size_t k = 0; k < depth; k++, weight += stride) {
    if (!is_part) {
      for (size_t at = 0; at < (size_t)vectors * LANES * width; at += 64) __builtin_prefetch(weight + ahead + at, 0, 3);
    }
    vec factor[ROWS_AT_ONCE];
    EACH(r, rows) factor[r] = splat(x[r * x_stride + (ptrdiff_t)k]);
    EACH(v, vectors) {
      const char *from = weight + (size_t)v * LANES * width;
      vec value = is_part ? load_weight_part(from, count, kind) : load_weight(from, kind);
      EACH(r, rows) sum[r][v] = multiply_add(factor[r], value, sum[r][v]);
      EACH(r, rows) IN_ORDER(sum[r][v]);
    }
  }
  EACH(r, rows) {
    EACH(v, vectors) {
      float *to = y + r * y_stride + v * LANES;
      if (is_part) store_part(to, sum[r][v], count); else store(to, sum[r][v]);
    }
  }
}

/// What is asked for while a pass over some columns is computed: `lines` of each DOTS lines that are read, from column
/// `column` on. DOTS is for what this pass itself reads soon.
typedef struct {
  size_t column;
  int lines;
} wanted;

/// Columns [first, end) of `rows` rows of y (+)= one term.
static inline __attribute__((always_inline)) void one_term(const int rows, const int kind, const lmoe_term *term,
                                                           size_t row, size_t first, size_t end, wanted next,
                                                           float *y, ptrdiff_t y_stride, int accumulates) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  const ptrdiff_t stride = term->weight_stride * (ptrdiff_t)width;
  const float *x = term->x + (ptrdiff_t)row * term->x_stride;
  const char *weight = term->weight;
  y += (ptrdiff_t)row * y_stride;
  const size_t depth = term->depth;
  size_t j = first;
  if (term->is_transposed) {
    // The same place of the rows to come.
    const ptrdiff_t ahead = stride == 0 ? 0 : (AHEAD / (DOTS * stride) + 1) * DOTS * stride;
#define SUMS(asks, ahead)                                                                                        \
  dots(rows, kind, asks, x, term->x_stride, weight + (ptrdiff_t)j * stride, stride, ahead,                       \
       end - j < DOTS ? end - j : DOTS, depth, y + j, y_stride, accumulates)
    // What is asked for a line or two at a time falls behind what is read.
    ptrdiff_t at = (ptrdiff_t)(next.column - first) * stride;
    if (next.lines == DOTS) {
      for (; j < end; j += DOTS) SUMS(DOTS, ahead);
    } else if (next.lines == 2) {
      for (; j < end; j += DOTS, at -= (DOTS - 2) * stride) SUMS(2, at);
    } else {
      for (; j < end; j += DOTS, at -= (DOTS - 1) * stride) SUMS(1, at);
    }
#undef SUMS
    return;
  }
  const int most = rows == 1 ? MOST_VECTORS : rows == 2 && MOST_VECTORS > 8 ? MOST_VECTORS / 2 : 4;
#define COMBINE(vectors, is_part, count)                                                                        \
  combine(rows, vectors, kind, x, term->x_stride, weight + j * width, stride, is_part, count, depth, y + j, y_stride, \
          accumulates)
  for (; j + (size_t)most * LANES <= end; j += (size_t)most * LANES) COMBINE(most, 0, LANES);
  for (; j + 4 * LANES <= end; j += 4 * LANES) COMBINE(4, 0, LANES);
  // One sum waits for the last: with fewer at once a row of the weight takes as long as with four.
  switch ((end - j) / LANES) {
    case 3: COMBINE(3, 0, LANES); j += 3 * LANES; break;
    case 2: COMBINE(2, 0, LANES); j += 2 * LANES; break;
    case 1: COMBINE(1, 0, LANES); j += LANES; break;
    default: break;
  }
  if (j < end) COMBINE(1, 1, end - j);
#undef COMBINE
}

typedef void term_function(const lmoe_term *term, size_t row, size_t first, size_t end, wanted next, float *y,
                           ptrdiff_t y_stride, int accumulates);
#define TERM(rows, kind)                                                                                       \
  static void term_##rows##_##kind(const lmoe_term *term, size_t row, size_t first, size_t end, wanted next,   \
                                   float *y, ptrdiff_t y_stride, int accumulates) {                            \
    one_term(rows, kind, term, row, first, end, next, y, y_stride, accumulates);                               \
  }
#define TERMS(rows) TERM(rows, LMOE_F32) TERM(rows, LMOE_F16) TERM(rows, LMOE_BF16)
TERMS(1) TERMS(2)
#if ROWS_AT_ONCE > 2
TERMS(3)
#endif
#if ROWS_AT_ONCE > 3
TERMS(4)
#endif
#undef TERM
#undef TERMS

#define KINDS(rows) {term_##rows##_LMOE_F32, term_##rows##_LMOE_F16, term_##rows##_LMOE_BF16}
static term_function *const term_functions[ROWS_AT_ONCE][3] = {
    KINDS(1), KINDS(2),
#if ROWS_AT_ONCE > 2
    KINDS(3),
#endif
#if ROWS_AT_ONCE > 3
    KINDS(4),
#endif
};
#undef KINDS

#include "gemm_narrow.h"

static void gemm_rows(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                      ptrdiff_t y_stride, int accumulates) {
  const size_t passes = (m + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  for (size_t t = 0; t < term_count; t++) {
    const lmoe_term *term = &terms[t];
    size_t depth;
    // Only where they are added to something: sums by themselves, as of queries with keys, round less lane by lane.
    const size_t narrow = accumulates || t > 0 ? narrow_terms(term, term_count - t, &depth) : 0;
    if (narrow > 0) {
      add_narrow_terms(m, term, narrow, depth, first, end, y, y_stride);
      t += narrow - 1;
      continue;
    }
    term_function *const *functions = term_functions[0] + (term->kind - LMOE_F32);
    // Where there are several passes, each over a part of the weight that the nearest cache still has.
    size_t block = end - first;
    if (passes > 1) {
      block = NEAR / (term->depth * width_of(term->kind) + 1) / DOTS * DOTS;
      size_t least = term->is_transposed ? 4 * DOTS : 4 * LANES;
      if (!term->is_transposed || block < least) block = least;
    }
    for (size_t j = first; j < end; j += block) {
      size_t block_end = end - j < block ? end : j + block;
      // Each pass asks for another part of the next block, so that memory is read all the time.
      const int lines = passes == 1 || block_end == end ? DOTS : passes < DOTS ? 2 : 1;
      for (size_t pass = 0; pass < passes; pass++) {
        size_t row = m * pass / passes, rows = m * (pass + 1) / passes - row;
        const wanted next = {block_end + pass % (DOTS / lines) * (block / DOTS * lines), lines};
        functions[(rows - 1) * 3](term, row, j, block_end, next, y, y_stride, accumulates || t > 0);
      }
    }
  }
  if (term_count > 0 || accumulates) return;
  for (size_t i = 0; i < m; i++) memset(y + (ptrdiff_t)i * y_stride + first, 0, (end - first) * sizeof(float));
}
