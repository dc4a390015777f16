// Passes over activations. A part of every instruction set's translation unit.

typedef uint32_t vec_unsigned __attribute__((vector_size(4 * LANES)));

/// The number of each lane.
static const int32_t lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/// `value` in the first `count` lanes, `other` in the rest.
static inline vec first_lanes(vec value, size_t count, vec other) {
  vec_bits numbers;
  memcpy(&numbers, lane_numbers, sizeof numbers);
  vec_bits mask = numbers < (int32_t)count;
  return (vec)((mask & (vec_bits)value) | (~mask & (vec_bits)other));
}

static inline float sum_of(vec value) { return sums(value, zero(), zero(), zero())[0]; }

// Not functions: by value, vectors of two registers are another matter.
#define TO_DOUBLE(value) __builtin_convertvector(value, vec_double)
static inline double sum_of_doubles(const vec_double *values) {
  double sums[LANES];
  memcpy(sums, values, sizeof sums);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}

/// e^x within one unit in the last place or so: 0 where that is less than a normal float (some sets of kernels have the
/// others, too), infinity from 2^127.5 on; a NaN stays one.
static inline vec exponential(vec x) {
  x = smaller(splat(89.0f), larger(splat(-105.0f), x));
  // x = n ln 2 + rest. Adding 1.5 * 2^23 rounds, and leaves n in the low bits: with 127 more, the exponent of 2^n.
  const vec magic = splat(12582912.0f + 127);
  vec shifted = multiply_add(x, splat(1.44269504088896341f), magic);
  vec n = shifted - magic;
  vec rest = multiply_add(n, splat(-0.693359375f), x);
  rest = multiply_add(n, splat(2.12194440e-4f), rest);
  vec p = splat(1.9875691500e-4f);
  p = multiply_add(p, rest, splat(1.3981999507e-3f));
  p = multiply_add(p, rest, splat(8.3334519073e-3f));
  p = multiply_add(p, rest, splat(4.1665795894e-2f));
  p = multiply_add(p, rest, splat(1.6666665459e-1f));
  p = multiply_add(p, rest, splat(5.0000001201e-1f));
  p = multiply_add(p, rest * rest, rest) + 1.0f;
  return times_power_of_two(p, n, shifted);
}

static inline __attribute__((always_inline)) void scale_row(const float *x, size_t width, const char *weight,
                                                            const int kind, float scale, float *out) {
  size_t i = 0;
  const vec factor = splat(scale);
  for (; i + LANES <= width; i += LANES)
    store(out + i, load(x + i) * factor * load_weight(weight + i * width_of(kind), kind));
  if (i == width) return;
  vec last = load_part(x + i, width - i) * factor * load_weight_part(weight + i * width_of(kind), width - i, kind);
  store_part(out + i, last, width - i);
}

static void rms_norm(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                     double epsilon, float *out, ptrdiff_t out_stride) {
  for (size_t r = 0; r < rows; r++, x += x_stride, out += out_stride) {
    vec_double squares = {0};
    size_t i = 0;
    for (; i + LANES <= width; i += LANES) {
      vec_double value = TO_DOUBLE(load(x + i));
      squares += value * value;
    }
    if (i < width) {
      vec_double value = TO_DOUBLE(load_part(x + i, width - i));
      squares += value * value;
    }
    float scale = (float)(1 / sqrt(sum_of_doubles(&squares) / (double)width + epsilon));
    switch (kind) {
      case LMOE_F32: scale_row(x, width, weight, LMOE_F32, scale, out); break;
      case LMOE_F16: scale_row(x, width, weight, LMOE_F16, scale, out); break;
      case LMOE_BF16: scale_row(x, width, weight, LMOE_BF16, scale, out); break;
    }
  }
}

static void weigh(const float *x, size_t count, const void *weight, size_t first, int kind, float *out) {
  const char *from = (const char *)weight + first * width_of(kind);
  switch (kind) {
    case LMOE_F32: scale_row(x, count, from, LMOE_F32, 1, out); break;
    case LMOE_F16: scale_row(x, count, from, LMOE_F16, 1, out); break;
    case LMOE_BF16: scale_row(x, count, from, LMOE_BF16, 1, out); break;
  }
}

static inline vec silu(vec gate, vec up) { return gate / (exponential(-gate) + 1.0f) * up; }

static void silu_multiply(float *gate, const float *up, size_t count) {
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) store(gate + i, silu(load(gate + i), load(up + i)));
  if (i == count) return;
  store_part(gate + i, silu(load_part(gate + i, count - i), load_part(up + i, count - i)), count - i);
}

static void add(float *x, const float *y, size_t count) {
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) store(x + i, load(x + i) + load(y + i));
  for (; i < count; i++) x[i] += y[i];
}

static inline __attribute__((always_inline)) void add_row(float *x, size_t width, const char *bias, const int kind) {
  size_t i = 0;
  for (; i + LANES <= width; i += LANES) store(x + i, load(x + i) + load_weight(bias + i * width_of(kind), kind));
  if (i == width) return;
  vec last = load_part(x + i, width - i) + load_weight_part(bias + i * width_of(kind), width - i, kind);
  store_part(x + i, last, width - i);
}

static void add_bias(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind) {
  for (size_t r = 0; r < rows; r++, x += stride) {
    switch (kind) {
      case LMOE_F32: add_row(x, width, bias, LMOE_F32); break;
      case LMOE_F16: add_row(x, width, bias, LMOE_F16); break;
      case LMOE_BF16: add_row(x, width, bias, LMOE_BF16); break;
    }
  }
}

static void rotate(float *x, size_t heads, size_t width, const float *cosines, const float *sines) {
  const size_t half = width / 2;
  for (size_t h = 0; h < heads; h++, x += width) {
    size_t i = 0;
    for (; i + LANES <= half; i += LANES) {
      vec a = load(x + i), b = load(x + half + i), cosine = load(cosines + i), sine = load(sines + i);
      store(x + i, multiply_add(a, cosine, -(b * sine)));
      store(x + half + i, multiply_add(b, cosine, a * sine));
    }
    if (i == half) continue;
    vec a = load_part(x + i, half - i), b = load_part(x + half + i, half - i);
    vec cosine = load_part(cosines + i, half - i), sine = load_part(sines + i, half - i);
    store_part(x + i, multiply_add(a, cosine, -(b * sine)), half - i);
    store_part(x + half + i, multiply_add(b, cosine, a * sine), half - i);
  }
}

static float largest_of(const float *scores, size_t count) {
  vec most = splat(-INFINITY);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) most = larger(load(scores + i), most);
  if (i < count) most = larger(first_lanes(load_part(scores + i, count - i), count - i, most), most);
  return largest_lane(most);
}

static float softmax(float *scores, size_t count) {
  const float largest = largest_of(scores, count);
  // Where there is nothing to see, nothing is taken away, for infinity less infinity is no number.
  const vec base = splat(largest == -INFINITY ? 0 : largest);
  vec total = zero();
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    vec value = exponential(load(scores + i) - base);
    store(scores + i, value);
    total += value;
  }
  if (i < count) {
    vec value = first_lanes(exponential(load_part(scores + i, count - i) - base), count - i, zero());
    store_part(scores + i, value, count - i);
    total += value;
  }
  const float sum = sum_of(total);
  if (sum == 0) return -INFINITY;
  const float share = 1 / sum;
  for (i = 0; i + LANES <= count; i += LANES) store(scores + i, load(scores + i) * share);
  if (i < count) store_part(scores + i, load_part(scores + i, count - i) * share, count - i);
  return largest + logf(sum);
}

static double log_sum_exp(const float *scores, size_t count) {
  const float largest = largest_of(scores, count);
  const vec base = splat(largest == -INFINITY ? 0 : largest);
  vec_double total = {0};
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) total += TO_DOUBLE(exponential(load(scores + i) - base));
  if (i < count)
    total += TO_DOUBLE(first_lanes(exponential(load_part(scores + i, count - i) - base), count - i, zero()));
  return largest + log(sum_of_doubles(&total));
}

static void to_f16(const float *values, size_t count, uint16_t *out) {
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) store_f16(out + i, load(values + i));
  if (i == count) return;
  uint16_t last[LANES];
  store_f16(last, load_part(values + i, count - i));
  memcpy(out + i, last, (count - i) * sizeof *out);
}
