// Passes that training needs, by the kernels for this processor.
#include "kernel_variants.h"

void lmoe_rms_norm_backward(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight,
                            int kind, double epsilon, const float *dy, ptrdiff_t dy_stride, float *dx,
                            ptrdiff_t dx_stride, int accumulates) {
  lmoe_kernels_now()->rms_norm_backward(x, x_stride, rows, width, weight, kind, epsilon, dy, dy_stride, dx,
                                        dx_stride, accumulates);
}
void lmoe_silu_product(const float *gate, const float *up, size_t count, float *out) {
  lmoe_kernels_now()->silu_product(gate, up, count, out);
}
void lmoe_silu_product_backward(const float *gate, const float *up, const float *d, size_t count,
                                float *gate_out, float *up_out) {
  lmoe_kernels_now()->silu_product_backward(gate, up, d, count, gate_out, up_out);
}
void lmoe_rotate_backward(float *x, size_t heads, size_t width, const float *cosines, const float *sines) {
  lmoe_kernels_now()->rotate_backward(x, heads, width, cosines, sines);
}
void lmoe_exp_sums(float *x, size_t count, float minus, double *sums) {
  lmoe_kernels_now()->exp_sums(x, count, minus, sums);
}
double lmoe_cross_entropy(float *logits, size_t count, size_t target, float scale) {
  return lmoe_kernels_now()->cross_entropy(logits, count, target, scale);
}
float lmoe_dot(const float *x, const float *y, size_t count) { return lmoe_kernels_now()->dot(x, y, count); }
void lmoe_scale(const float *x, float factor, size_t count, float *out) {
  lmoe_kernels_now()->scale(x, factor, count, out);
}
void lmoe_add_scaled(float *out, const float *x, float factor, size_t count) {
  lmoe_kernels_now()->add_scaled(out, x, factor, count);
}
void lmoe_adamw(float *w, float *m, float *v, const float *gradient, size_t count, const lmoe_adamw_step *step) {
  lmoe_kernels_now()->adamw(w, m, v, gradient, count, step);
}
void lmoe_dropout(const float *x, size_t count, uint64_t key, uint64_t first, float p, float *out) {
  lmoe_kernels_now()->dropout(x, count, key, first, p, out);
}
void lmoe_dropout_backward(const float *d, size_t count, uint64_t key, uint64_t first, float p, float *out) {
  lmoe_kernels_now()->dropout_backward(d, count, key, first, p, out);
}
void lmoe_transpose_strided(const float *matrix, size_t rows, size_t columns, ptrdiff_t stride, float *out,
                            ptrdiff_t out_stride) {
  lmoe_kernels_now()->transpose_strided(matrix, rows, columns, stride, out, out_stride);
}
