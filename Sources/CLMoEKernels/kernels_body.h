#include "integers.h"

#include "gemm_panels.h"
#include "gemm_rows.h"

#include "elementwise_body.h"
#include "training_body.h"
#include "optimizer_body.h"
#include "dropout_body.h"
#include "transposition_body.h"
#include "peak_body.h"
#include "attention_tiles.h"
#include "attention_body.h"
#include "attention_backward_body.h"

/// Whether packing a weight costs more than what it saves. That depends on nothing but the numbers of rows and
/// the depths, so that every range of columns is computed in the same way.
static int are_few(size_t m, const lmoe_term *terms, size_t term_count) {
  if (m <= FEW_ROWS) return 1;
  if (m > SOME_ROWS) return 0;
  for (size_t t = 0; t < term_count; t++)
    if (terms[t].is_transposed && terms[t].depth < 256 && !(t > 0 && is_narrow(&terms[t]))) return 0;
  return 1;
}

static void gemm_floats(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                        ptrdiff_t y_stride, int accumulates, float *scratch) {
  if (are_few(m, terms, term_count)) {
    gemm_rows(m, terms, term_count, first, end, y, y_stride, accumulates);
  } else {
    gemm_panels(m, terms, term_count, first, end, y, y_stride, accumulates, scratch);
  }
}

#include "gemm_blocks.h"

static void gemm_any(const lmoe_integer_kernels *integers, size_t m, const lmoe_term *terms, size_t term_count,
                     size_t first, size_t end, float *y, ptrdiff_t y_stride, int accumulates, float *scratch) {
  if (m == 0 || first >= end) return;
  size_t t = 0;
  do {
    // Terms of floats go together, as far as no others are between them.
    size_t run = t;
    while (run < term_count && terms[run].kind < 0) run++;
    if (run > t || term_count == 0) {
      gemm_floats(m, terms + t, run - t, first, end, y, y_stride, accumulates || t > 0, scratch);
      t = run;
    }
    if (t < term_count) {
      gemm_blocks(integers, m, &terms[t], first, end, y, y_stride, accumulates || t > 0, scratch);
      t++;
    }
  } while (t < term_count);
}

#define GEMM(name, integers)                                                                                     \
  static void name(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,      \
                   ptrdiff_t y_stride, int accumulates, float *scratch) {                                        \
    gemm_any(integers, m, terms, term_count, first, end, y, y_stride, accumulates, scratch);                     \
  }
GEMM(gemm, INTEGERS)
#if defined(MORE_INTEGERS)
GEMM(gemm_more, MORE_INTEGERS)
#endif
#undef GEMM

#define ALL_BUT_GEMM                                                                                             \
  /* elementwise_body.h */                                                                                       \
  rms_norm, weigh, silu_multiply, add, add_bias, rotate, softmax, log_sum_exp, to_f16, /* training_body.h */            \
      rms_norm_backward, silu_product, silu_product_backward, rotate_backward, exp_sums,              \
      cross_entropy, /* optimizer_body.h, dropout_body.h, transposition_body.h */              \
      dot, scale, add_scaled, adamw, dropout, dropout_backward, transpose_strided, /* attention…body.h */      \
      attend, attend_backward, /* peak_body.h */ multiply_adds
const lmoe_kernels KERNELS = {NAME, gemm, ALL_BUT_GEMM, INTEGERS};
#if defined(MORE_INTEGERS)
const lmoe_kernels MORE_KERNELS = {MORE_NAME, gemm_more, ALL_BUT_GEMM, MORE_INTEGERS};
#endif
