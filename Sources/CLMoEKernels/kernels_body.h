#include "gemm_panels.h"
#include "gemm_rows.h"

static void gemm(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                 ptrdiff_t y_stride, int accumulates, float *scratch) {
  if (m == 0 || first >= end) return;
  if (m <= FEW_ROWS) {
    gemm_rows(m, terms, term_count, first, end, y, y_stride, accumulates);
  } else {
    gemm_panels(m, terms, term_count, first, end, y, y_stride, accumulates, scratch);
  }
}

const lmoe_kernels KERNELS = {NAME, gemm};
