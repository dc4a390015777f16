// Passes over activations, by the kernels for this processor.
#include "kernel_variants.h"

void lmoe_rms_norm(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                   double epsilon, float *out, ptrdiff_t out_stride) {
  lmoe_kernels_now()->rms_norm(x, x_stride, rows, width, weight, kind, epsilon, out, out_stride);
}
void lmoe_silu_multiply(float *gate, const float *up, size_t count) {
  lmoe_kernels_now()->silu_multiply(gate, up, count);
}
void lmoe_add(float *x, const float *y, size_t count) { lmoe_kernels_now()->add(x, y, count); }
void lmoe_add_bias(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind) {
  lmoe_kernels_now()->add_bias(x, stride, rows, width, bias, kind);
}
void lmoe_rotate(float *x, size_t heads, size_t width, const float *cosines, const float *sines) {
  lmoe_kernels_now()->rotate(x, heads, width, cosines, sines);
}
float lmoe_softmax(float *scores, size_t count) { return lmoe_kernels_now()->softmax(scores, count); }
double lmoe_log_sum_exp(const float *scores, size_t count) {
  return lmoe_kernels_now()->log_sum_exp(scores, count);
}
void lmoe_to_f16(const float *values, size_t count, uint16_t *out) {
  lmoe_kernels_now()->to_f16(values, count, out);
}
