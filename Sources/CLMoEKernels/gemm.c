// Sums of products with weights as they are stored.
#include "CLMoEKernels.h"

#include <string.h>

static float value_at(const void *values, size_t index, int kind) {
  float out;
  size_t width = kind == LMOE_F32 ? 4 : 2;
  lmoe_to_f32((const char *)values + index * width, 1, kind, &out);
  return out;
}

size_t lmoe_gemm_scratch(size_t depth) { return depth; }

void lmoe_gemm(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch) {
  for (size_t j = first; j < end; j++) {
    for (size_t i = 0; i < m; i++) {
      if (!accumulates) y[(ptrdiff_t)i * y_stride + j] = 0;
    }
    for (size_t t = 0; t < term_count; t++) {
      const lmoe_term *term = &terms[t];
      size_t width = term->kind == LMOE_F32 ? 4 : 2;
      if (term->is_transposed) {
        lmoe_to_f32((const char *)term->weight + j * term->weight_stride * width, term->depth, term->kind, scratch);
      } else {
        for (size_t k = 0; k < term->depth; k++)
          scratch[k] = value_at(term->weight, k * term->weight_stride + j, term->kind);
      }
      for (size_t i = 0; i < m; i++) {
        const float *x = term->x + (ptrdiff_t)i * term->x_stride;
        float sum = 0;
        for (size_t k = 0; k < term->depth; k++) sum += x[k] * scratch[k];
        y[(ptrdiff_t)i * y_stride + j] += sum;
      }
    }
  }
}
