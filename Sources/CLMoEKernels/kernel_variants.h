// The kernels of one instruction set. Each set has a translation unit that includes the same bodies.
#ifndef LMOE_KERNEL_VARIANTS_H
#define LMOE_KERNEL_VARIANTS_H
#include "CLMoEKernels.h"

/// Floats of scratch, which every set divides among its panels, and of blocks that were decoded.
enum { SCRATCH = 65536, DECODED = 65536 };

/// Keys that attention takes at a time at most, and rows of queries; on the way back the keys and queries of a block.
enum { ATTENTION_KEYS = 128, ATTENTION_ROWS = 16, GRADIENT_KEYS = 48, GRADIENT_QUERIES = 96 };

typedef struct {
  const char *name;
  void (*gemm)(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch);
  void (*rms_norm)(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                   double epsilon, float *out, ptrdiff_t out_stride);
  /// out[i] = x[i] * weight[first + i].
  void (*weigh)(const float *x, size_t count, const void *weight, size_t first, int kind, float *out);
  void (*silu_multiply)(float *gate, const float *up, size_t count);
  void (*add)(float *x, const float *y, size_t count);
  void (*add_bias)(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind);
  void (*rotate)(float *x, size_t heads, size_t width, const float *cosines, const float *sines);
  float (*softmax)(float *scores, size_t count);
  double (*log_sum_exp)(const float *scores, size_t count);
  void (*to_f16)(const float *values, size_t count, uint16_t *out);
  void (*rms_norm_backward)(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight,
                            int kind, double epsilon, const float *dy, ptrdiff_t dy_stride, float *dx,
                            ptrdiff_t dx_stride, int accumulates);
  void (*silu_product)(const float *gate, const float *up, size_t count, float *out);
  void (*silu_product_backward)(const float *gate, const float *up, const float *d, size_t count,
                                float *gate_out, float *up_out);
  void (*rotate_backward)(float *x, size_t heads, size_t width, const float *cosines, const float *sines);
  void (*exp_sums)(float *x, size_t count, float minus, double *sums);
  double (*cross_entropy)(float *logits, size_t count, size_t target, float scale);
  float (*dot)(const float *x, const float *y, size_t count);
  void (*scale)(const float *x, float factor, size_t count, float *out);
  void (*add_scaled)(float *out, const float *x, float factor, size_t count);
  void (*adamw)(float *w, float *m, float *v, const float *gradient, size_t count, const lmoe_adamw_step *step);
  void (*dropout)(const float *x, size_t count, uint64_t key, uint64_t first, float p, float *out);
  void (*dropout_backward)(const float *d, size_t count, uint64_t key, uint64_t first, float p, float *out);
  void (*transpose_strided)(const float *matrix, size_t rows, size_t columns, ptrdiff_t stride, float *out,
                            ptrdiff_t out_stride);
  void (*attend)(const lmoe_attention *attention, float *scratch);
  void (*attend_backward)(const lmoe_attention_gradient *gradient, float *scratch);
  double (*multiply_adds)(size_t rounds, float *values);
  const struct lmoe_integer_kernels *integers;
} lmoe_kernels;

extern const lmoe_kernels lmoe_kernels_portable, lmoe_kernels_avx2, lmoe_kernels_avx512, lmoe_kernels_avx512vnni;

/// The kernels that this thread uses.
const lmoe_kernels *lmoe_kernels_now(void);
#endif
