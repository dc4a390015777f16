// Gradients of the passes over activations. A part of every instruction set's translation unit.

/// The first `count` <= LANES floats, the rest zero. In whole steps `count` is a constant.
static inline __attribute__((always_inline)) vec load_lanes(const float *from, size_t count) {
  return count == LANES ? load(from) : load_part(from, count);
}
static inline __attribute__((always_inline)) void store_lanes(float *to, vec value, size_t count) {
  if (count == LANES) store(to, value);
  else store_part(to, value, count);
}
static inline __attribute__((always_inline)) vec load_weight_lanes(const char *weight, size_t count, const int kind) {
  return count == LANES ? load_weight(weight, kind) : load_weight_part(weight, count, kind);
}

/// Runs the statements for every LANES of `count` elements, with `i` the first and `n` the number of them: once
/// for whole steps, where n is a constant, and once for what is left.
#define PASS(count, ...)                       \
  {                                            \
    size_t i = 0;                              \
    for (; i + LANES <= (count); i += LANES) { \
      const size_t n = LANES;                  \
      __VA_ARGS__                              \
    }                                          \
    if (i < (count)) {                         \
      const size_t n = (count) - i;            \
      __VA_ARGS__                              \
    }                                          \
  }

static inline __attribute__((always_inline)) void rms_norm_backward_row(const float *x, size_t width,
                                                                        const char *weight, const int kind,
                                                                        double epsilon, const float *dy, float *dx,
                                                                        const int accumulates) {
  vec_double squares = {0}, products = {0};
  PASS(width, {
    vec_double value = TO_DOUBLE(load_lanes(x + i, n));
    vec h = load_lanes(dy + i, n) * load_weight_lanes(weight + i * width_of(kind), n, kind);
    squares += value * value;
    products += value * TO_DOUBLE(h);
  })
  // In terms of x * r, which is near 1: x alone, or the cube of r, may be far from what a float can hold.
  const double r = 1 / sqrt(sum_of_doubles(&squares) / (double)width + epsilon);
  const vec scale = splat((float)r), share = splat((float)(r * sum_of_doubles(&products) / (double)width));
  PASS(width, {
    vec h = load_lanes(dy + i, n) * load_weight_lanes(weight + i * width_of(kind), n, kind);
    vec gradient = (h - load_lanes(x + i, n) * scale * share) * scale;
    if (accumulates) gradient += load_lanes(dx + i, n);
    store_lanes(dx + i, gradient, n);
  })
}

static void rms_norm_backward(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight,
                              int kind, double epsilon, const float *dy, ptrdiff_t dy_stride, float *dx,
                              ptrdiff_t dx_stride, int accumulates) {
  for (size_t r = 0; r < rows; r++, x += x_stride, dy += dy_stride, dx += dx_stride) {
    switch (kind) {
      case LMOE_F32: rms_norm_backward_row(x, width, weight, LMOE_F32, epsilon, dy, dx, accumulates); break;
      case LMOE_F16: rms_norm_backward_row(x, width, weight, LMOE_F16, epsilon, dy, dx, accumulates); break;
      case LMOE_BF16: rms_norm_backward_row(x, width, weight, LMOE_BF16, epsilon, dy, dx, accumulates); break;
    }
  }
}

static void silu_product(const float *gate, const float *up, size_t count, float *out) {
  PASS(count, store_lanes(out + i, silu(load_lanes(gate + i, n), load_lanes(up + i, n)), n);)
}

static void silu_product_backward(const float *gate, const float *up, const float *d, size_t count,
                                  float *gate_out, float *up_out) {
  PASS(count, {
    vec g = load_lanes(gate + i, n), u = load_lanes(up + i, n), gradient = load_lanes(d + i, n);
    vec e = exponential(-g), sigmoid = 1.0f / (e + 1.0f), product = g * sigmoid;
    // 1 - sigmoid without a difference, which would lose digits; and 0 where e is infinite, not what 0 times
    // infinity is.
    vec rest = smaller(splat(3e38f), e) * sigmoid;
    vec slope = multiply_add(product, rest, sigmoid);
    store_lanes(gate_out + i, gradient * u * slope, n);
    store_lanes(up_out + i, gradient * product, n);
  })
}

static void rotate_backward(float *x, size_t heads, size_t width, const float *cosines, const float *sines) {
  const size_t half = width / 2;
  for (size_t h = 0; h < heads; h++, x += width) {
    PASS(half, {
      vec a = load_lanes(x + i, n), b = load_lanes(x + half + i, n);
      vec cosine = load_lanes(cosines + i, n), sine = load_lanes(sines + i, n);
      store_lanes(x + i, multiply_add(a, cosine, b * sine), n);
      store_lanes(x + half + i, multiply_add(b, cosine, -(a * sine)), n);
    })
  }
}

static void exp_sums(float *x, size_t count, float minus, double *sums) {
  const vec base = splat(minus);
  for (size_t block = 0; block < count; block += 32) {
    vec total = zero();
    size_t end = count - block < 32 ? count : block + 32, i = block;
    for (; i + LANES <= end; i += LANES) {
      vec value = exponential(load(x + i) - base);
      store(x + i, value);
      total += value;
    }
    if (i < end) {
      vec value = first_lanes(exponential(load_part(x + i, end - i) - base), end - i, zero());
      store_part(x + i, value, end - i);
      total += value;
    }
    sums[block / 32] = sum_of(total);
  }
}

static double cross_entropy(float *logits, size_t count, size_t target, float scale) {
  if (target >= count) return NAN;
  const float largest = largest_of(logits, count), chosen = logits[target];
  const vec base = splat(largest);
  vec_double total = {0};
  // Stays zero as long as all is finite.
  vec poison = zero();
  PASS(count, {
    vec value = load_lanes(logits + i, n), e = exponential(value - base);
    poison = multiply_add(value, zero(), poison);
    store_lanes(logits + i, e, n);
    if (n < LANES) e = first_lanes(e, n, zero());
    total += TO_DOUBLE(e);
  })
  const double sum = sum_of_doubles(&total) + (double)sum_of(poison);
  // Before it is multiplied: as a difference in double precision, for the target's share may be close to 1.
  const double rest = (double)logits[target] - sum;
  const vec share = splat((float)((double)scale / sum));
  PASS(count, store_lanes(logits + i, load_lanes(logits + i, n) * share, n);)
  logits[target] = (float)((double)scale * (rest / sum));
  return log(sum) + ((double)largest - (double)chosen);
}
