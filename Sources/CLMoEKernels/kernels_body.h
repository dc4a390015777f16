#include "gemm_panels.h"
#include "gemm_rows.h"

#include "elementwise_body.h"
#include "training_body.h"
#include "optimizer_body.h"
#include "dropout_body.h"
#include "transposition_body.h"

/// Whether packing a weight costs more than what it saves. That depends on nothing but the numbers of rows and
/// the depths, so that every range of columns is computed in the same way.
static int are_few(size_t m, const lmoe_term *terms, size_t term_count) {
  if (m <= FEW_ROWS) return 1;
  if (m > SOME_ROWS) return 0;
  for (size_t t = 0; t < term_count; t++)
    if (terms[t].is_transposed && terms[t].depth < 256) return 0;
  return 1;
}

static void gemm(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                 ptrdiff_t y_stride, int accumulates, float *scratch) {
  if (m == 0 || first >= end) return;
  if (are_few(m, terms, term_count)) {
    gemm_rows(m, terms, term_count, first, end, y, y_stride, accumulates);
  } else {
    gemm_panels(m, terms, term_count, first, end, y, y_stride, accumulates, scratch);
  }
}

const lmoe_kernels KERNELS = {
    NAME, gemm,
    // elementwise_body.h
    rms_norm, silu_multiply, add, add_bias, rotate, softmax, log_sum_exp, to_f16,
    // training_body.h
    rms_norm_backward, silu_product, silu_product_backward, rotate_backward, exp_minus, exp_sums, softmax_backward,
    cross_entropy,
    // optimizer_body.h, dropout_body.h, transposition_body.h
    dot, scale, add_scaled, adamw, dropout, dropout_backward, transpose_strided};
