// The kernels of one instruction set. Each set has a translation unit that includes the same bodies.
#ifndef LMOE_KERNEL_VARIANTS_H
#define LMOE_KERNEL_VARIANTS_H
#include "CLMoEKernels.h"

/// Floats of scratch, which every set divides among its panels.
enum { SCRATCH = 65536 };

typedef struct {
  const char *name;
  void (*gemm)(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch);
  void (*rms_norm)(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                   double epsilon, float *out, ptrdiff_t out_stride);
  void (*silu_multiply)(float *gate, const float *up, size_t count);
  void (*add)(float *x, const float *y, size_t count);
  void (*add_bias)(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind);
  void (*rotate)(float *x, size_t heads, size_t width, const float *cosines, const float *sines);
  float (*softmax)(float *scores, size_t count);
  double (*log_sum_exp)(const float *scores, size_t count);
  void (*to_f16)(const float *values, size_t count, uint16_t *out);
} lmoe_kernels;

extern const lmoe_kernels lmoe_kernels_portable, lmoe_kernels_avx2, lmoe_kernels_avx512;

/// The kernels that this thread uses.
const lmoe_kernels *lmoe_kernels_now(void);
#endif
