// Passes over activations. Plain loops that the compiler vectorises; on x86-64 glibc they are compiled twice and
// the loader picks (ifunc).
#include "CLMoEKernels.h"

#include <math.h>

void lmoe_rms_norm(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                   double epsilon, float *out, ptrdiff_t out_stride) {
  for (size_t r = 0; r < rows; r++) {
    const float *from = x + (ptrdiff_t)r * x_stride;
    float *to = out + (ptrdiff_t)r * out_stride;
    double sum = 0;
    for (size_t i = 0; i < width; i++) sum += (double)from[i] * from[i];
    float scale = (float)(1 / sqrt(sum / (double)width + epsilon));
    for (size_t i = 0; i < width; i++) {
      float w;
      lmoe_to_f32((const char *)weight + i * (kind == LMOE_F32 ? 4 : 2), 1, kind, &w);
      to[i] = from[i] * scale * w;
    }
  }
}

void lmoe_silu_multiply(float *gate, const float *up, size_t count) {
  for (size_t i = 0; i < count; i++) gate[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

void lmoe_add(float *x, const float *y, size_t count) {
  for (size_t i = 0; i < count; i++) x[i] += y[i];
}

void lmoe_add_bias(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t i = 0; i < width; i++) {
      float b;
      lmoe_to_f32((const char *)bias + i * (kind == LMOE_F32 ? 4 : 2), 1, kind, &b);
      x[(ptrdiff_t)r * stride + i] += b;
    }
  }
}

void lmoe_rotate(float *x, size_t heads, size_t width, const float *cosines, const float *sines) {
  size_t half = width / 2;
  for (size_t h = 0; h < heads; h++) {
    float *p = x + h * width;
    for (size_t i = 0; i < half; i++) {
      float a = p[i], b = p[i + half];
      p[i] = a * cosines[i] - b * sines[i];
      p[i + half] = b * cosines[i] + a * sines[i];
    }
  }
}

float lmoe_softmax(float *scores, size_t count) {
  float largest = -INFINITY, sum = 0;
  for (size_t i = 0; i < count; i++) largest = scores[i] > largest ? scores[i] : largest;
  for (size_t i = 0; i < count; i++) {
    scores[i] = expf(scores[i] - largest);
    sum += scores[i];
  }
  for (size_t i = 0; i < count; i++) scores[i] /= sum;
  return largest + logf(sum);
}

double lmoe_log_sum_exp(const float *scores, size_t count) {
  float largest = -INFINITY;
  for (size_t i = 0; i < count; i++) largest = scores[i] > largest ? scores[i] : largest;
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += exp((double)scores[i] - largest);
  return largest + log(sum);
}

void lmoe_to_f16(const float *values, size_t count, uint16_t *out) {
  for (size_t i = 0; i < count; i++) {
    _Float16 half = (_Float16)values[i];
    __builtin_memcpy(&out[i], &half, 2);
  }
}
