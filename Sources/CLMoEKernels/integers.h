// Products of integers: quantized weights as they are stored, times rows of x in fifteen bits.
//
// 32 elements of x share a scale: x = scale * (128 * high + low), -127 <= high <= 127 and -64 <= low < 64, so that x is
// as good as exact beside weights of eight bits and fewer. Where a scheme has its scales finer or coarser than
// that, the sums are cut at the finer of the two. A sum of products of integers is exact, and so it is the same in
// every set of kernels; each is turned into float32, multiplied with the product of both scales and added to float32
// sums, whose order each set has of its own, whatever the tile, the range of columns or the number of rows.
#ifndef LMOE_INTEGERS_H
#define LMOE_INTEGERS_H
#include "CLMoEKernels.h"

/// The schemes as their loops tell them apart.
typedef enum { FORM_Q8_0, FORM_Q4_0, FORM_Q4_K, FORM_Q6_K, FORM_I8_ROW, FORM_I4_32, FORM_I4_64, FORM_I4_128, FORMS } integer_form;

#define INLINE static inline __attribute__((always_inline))
#define EACH(i, count) _Pragma("clang loop unroll(full)") for (int i = 0; i < (count); i++)

/// Rows of the weight that are multiplied together with few rows of x.
enum { COLUMNS = 4 };

/// Elements of x under one scale; to what rows of x are filled up with zeros; and what has a sum of its own.
enum { X_RUN = 32, LOW_BITS = 7, LARGEST = 127 << LOW_BITS, X_UNIT = 128, X_PART = 16 };

/// A row of x: the high parts of its integers, the low parts, the scale of each X_RUN, the sum of the integers of each
/// X_PART.
typedef struct {
  const int8_t *high, *low;
  const float *scale;
  const int32_t *sum;
} x_row;

static inline size_t x_padded(size_t depth) { return (depth + X_UNIT - 1) / X_UNIT * X_UNIT; }

static inline x_row x_row_at(const void *rows, size_t row, size_t depth) {
  size_t padded = x_padded(depth);
  const char *at = (const char *)rows + row * lmoe_integer_row_bytes(depth);
  const char *scale = at + 2 * padded;
  return (x_row){(const int8_t *)at, (const int8_t *)at + padded, (const float *)scale,
                 (const int32_t *)(scale + padded / X_RUN * 4)};
}

/// Elements and bytes of a block of the form; a row of I8_ROW is a scale and then blocks of one.
static inline size_t form_elements(integer_form form) {
  switch (form) {
    case FORM_Q4_K: case FORM_Q6_K: return 256;
    case FORM_I8_ROW: return 1;
    case FORM_I4_64: return 64;
    case FORM_I4_128: return 128;
    default: return 32;
  }
}
static inline size_t form_bytes(integer_form form) {
  switch (form) {
    case FORM_Q8_0: return 34;
    case FORM_Q4_0: return 18;
    case FORM_Q4_K: return 144;
    case FORM_Q6_K: return 210;
    case FORM_I8_ROW: return 1;
    case FORM_I4_32: return 19;
    case FORM_I4_64: return 35;
    case FORM_I4_128: return 67;
    default: return 0;
  }
}
/// What stands before the blocks of a row.
static inline size_t form_head(integer_form form) { return form == FORM_I8_ROW ? 4 : 0; }

/// The form of a term's weight, or FORMS.
integer_form lmoe_integer_form(int scheme, size_t block);

/// The kernels of one instruction set.
typedef struct lmoe_integer_kernels {
  /// Columns [first, end) of y (+)= one term.
  void (*rows)(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y, ptrdiff_t y_stride,
               int accumulates);
  /// The same for many rows, or null where `rows` is as fast.
  void (*panels)(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y,
                 ptrdiff_t y_stride, int accumulates, float *scratch);
  /// Factors of experts for one token (panels.h), or null: y[Q8_PANEL] += u times ranks [first, end) of a panel of B;
  /// u[ranks] = `count` inputs, whole runs as lmoe_integer_rows makes them, times as many runs of A.
  void (*up_q8_0)(const float *u, size_t ranks, size_t first, size_t end, const void *panel, float *y);
  void (*down_q8_0)(const void *integers, size_t count, const void *runs, size_t ranks, float *u);
} lmoe_integer_kernels;

extern const lmoe_integer_kernels lmoe_integers_portable, lmoe_integers_avx2, lmoe_integers_avx512vnni;
#endif
