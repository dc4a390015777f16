// Q4_K and Q6_K: sub-blocks whose scales are found by trying, LANES sub-blocks at a time. A part of blocks_body.h.

/// How LANES sub-blocks were rounded when their error was least: element x became inverse * (x - from).
typedef struct {
  vec scale, minimum, inverse, from;
} k_fit;

/// Scale and minimum for 32 values in 0 ... 15, least weighted squares: each step divides the range a little
/// differently, and takes the straight line through what that gives.
static inline __attribute__((always_inline)) k_fit fit_q4_k(const vec *x) {
  vec weights[32], numbers[32];
  vec squares = zero();
  for (int i = 0; i < 32; i++) squares += x[i] * x[i];
  const vec average = __builtin_elementwise_sqrt(squares / 32.0f);
  for (int i = 0; i < 32; i++) weights[i] = average + ABS(x[i]);

  vec smallest = x[0], largest = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
  for (int i = 1; i < 32; i++) {
    smallest = smaller(x[i], smallest);
    largest = larger(x[i], largest);
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  smallest = pick(smallest > 0.0f, zero(), smallest);
  const vec_bits is_flat = largest == smallest;
  const vec flat_minimum = smallest;

  k_fit fit = {.minimum = smallest, .from = smallest};
  fit.inverse = 15.0f / (largest - smallest);
  fit.scale = 1.0f / fit.inverse;
  vec least = zero();
  for (int i = 0; i < 32; i++) {
    vec number = to_floats(between(nearest(fit.inverse * (x[i] - smallest)), 0, 15));
    vec error = fit.scale * number + smallest - x[i];
    least += weights[i] * (error * error);
  }
  for (int step = 0; step <= 20; step++) {
    const vec inverse = (-1.0f + 0.1f * (float)step + 15.0f) / (largest - fit.minimum);
    vec sum_l = zero(), sum_l2 = zero(), sum_xl = zero();
    for (int i = 0; i < 32; i++) {
      vec number = to_floats(between(nearest(inverse * (x[i] - fit.minimum)), 0, 15));
      numbers[i] = number;
      vec weighted = weights[i] * number;
      sum_l += weighted;
      sum_l2 += weighted * number;
      sum_xl += weighted * x[i];
    }
    const vec determinant = sum_w * sum_l2 - sum_l * sum_l;
    vec scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    vec minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    const vec_bits is_above = minimum > 0.0f;
    minimum = pick(is_above, zero(), minimum);
    scale = pick(is_above, sum_xl / sum_l2, scale);
    vec total = zero();
    for (int i = 0; i < 32; i++) {
      vec error = scale * numbers[i] + minimum - x[i];
      total += weights[i] * (error * error);
    }
    const vec_bits is_better = (determinant > 0.0f) & (total < least);
    fit.inverse = pick(is_better, inverse, fit.inverse);
    fit.from = pick(is_better, fit.minimum, fit.from);
    fit.scale = pick(is_better, scale, fit.scale);
    fit.minimum = pick(is_better, minimum, fit.minimum);
    least = pick(is_better, total, least);
  }
  fit.scale = pick(is_flat, zero(), fit.scale);
  fit.inverse = pick(is_flat, zero(), fit.inverse);
  fit.minimum = -pick(is_flat, flat_minimum, fit.minimum);
  return fit;
}

/// The fits of the sub-blocks of a block, as numbers.
typedef struct {
  float scale[16], minimum[16], inverse[16], from[16];
} k_fits;

static inline void put_fit(k_fits *fits, int first, const k_fit *fit) {
  store(fits->scale + first, fit->scale);
  store(fits->minimum + first, fit->minimum);
  store(fits->inverse + first, fit->inverse);
  store(fits->from + first, fit->from);
}

static size_t q4_k_block(const float *values, const k_fits *fits, int first, uint8_t *block) {
  const float *scales = fits->scale + first, *minima = fits->minimum + first;
  float largest_scale = 0, largest_minimum = 0;
  for (int s = 0; s < 8; s++) {
    if (scales[s] > largest_scale) largest_scale = scales[s];
    if (minima[s] > largest_minimum) largest_minimum = minima[s];
  }
  const float by_scale = largest_scale > 0 ? 63.0f / largest_scale : 0;
  const float by_minimum = largest_minimum > 0 ? 63.0f / largest_minimum : 0;
  uint8_t sc[8], m[8];
  for (int s = 0; s < 8; s++) {
    sc[s] = (uint8_t)nearest_int(by_scale * scales[s]);
    m[s] = (uint8_t)nearest_int(by_minimum * minima[s]);
    if (sc[s] > 63) sc[s] = 63;
    if (m[s] > 63) m[s] = 63;
  }
  const float d = put_half(block, largest_scale / 63.0f), dmin = put_half(block + 2, largest_minimum / 63.0f);
  for (int s = 0; s < 4; s++) {
    block[4 + s] = (uint8_t)(sc[s] | (sc[s + 4] >> 4) << 6);
    block[8 + s] = (uint8_t)(m[s] | (m[s + 4] >> 4) << 6);
    block[12 + s] = (uint8_t)((sc[s + 4] & 15) | (m[s + 4] & 15) << 4);
  }
  uint8_t numbers[256];
  for (int s = 0; s < 8; s++) {
    const float *x = values + 32 * s;
    const float step = d * (float)sc[s], offset = dmin * (float)m[s];
    for (int i = 0; i < 32; i += LANES) {
      // Without a scale, the numbers of the fit are left where they were.
      vec number = step != 0 ? (load(x + i) + offset) / step
                             : fits->inverse[first + s] * (load(x + i) - fits->from[first + s]);
      store_bytes(numbers + 32 * s + i, between(nearest(number), 0, 15));
    }
  }
  for (int half = 0; half < 4; half++)
    for (int i = 0; i < 32; i++)
      block[16 + 32 * half + i] = (uint8_t)(numbers[64 * half + i] | numbers[64 * half + 32 + i] << 4);
  return !isinf(d) && !isinf(dmin);
}

static size_t q4_k(const float *values, size_t count, uint8_t *blocks) {
  enum { AT_ONCE = LANES > 8 ? LANES / 8 : 1 };
  size_t good = count;
  for (size_t n = 0; n < count; n += AT_ONCE) {
    const size_t here = count - n < AT_ONCE ? count - n : AT_ONCE;
    float last[256 * AT_ONCE] = {0};
    const float *from = values + 256 * n;
    if (here < AT_ONCE) from = memcpy(last, from, 1024 * here);
    k_fits fits;
    for (int first = 0; first < 8 * AT_ONCE; first += LANES) {
      vec x[32];
      side_by_side(from + 32 * first, 32, x);
      const k_fit fit = fit_q4_k(x);
      put_fit(&fits, first, &fit);
    }
    for (size_t b = 0; b < here; b++)
      if (!q4_k_block(from + 256 * b, &fits, 8 * (int)b, blocks + 144 * (n + b)) && n + b < good) good = n + b;
  }
  return good;
}

/// A scale for 16 values in -32 ... 31, least squares weighted by squares. Values below 1e-15 count as none.
static inline __attribute__((always_inline)) k_fit fit_q6_k(const vec *x) {
  vec weights[16], weighted[16];
  vec size = zero(), largest = zero();
  for (int i = 0; i < 16; i++) {
    const vec_bits is_larger = ABS(x[i]) > size;
    size = pick(is_larger, ABS(x[i]), size);
    largest = pick(is_larger, x[i], largest);
    weights[i] = x[i] * x[i];
    weighted[i] = weights[i] * x[i];
  }
  const vec_bits is_none = size < 1e-15f;
  k_fit fit = {.minimum = zero(), .from = zero(), .scale = zero(), .inverse = zero()};
  vec best = zero();
  for (int step = -10; step <= 9; step++) {
    // The first is without a change, and taken as it is.
    if (step == 0) continue;
    const float bound = step < -9 ? 32.0f : 32.0f + 0.1f * (float)step;
    const vec inverse = -bound / largest;
    vec sum_xl = zero(), sum_l2 = zero();
    for (int i = 0; i < 16; i++) {
      vec number = to_floats(between(nearest(inverse * x[i]), -32, 31));
      sum_xl += weighted[i] * number;
      sum_l2 += weights[i] * number * number;
    }
    vec_bits is_taken = (sum_l2 > 0.0f) & (sum_xl * sum_xl > best * sum_l2);
    vec scale = sum_xl / sum_l2;
    if (step < -9) {
      is_taken = ~(vec_bits){0};
      scale = pick(sum_l2 != 0.0f, scale, zero());
    }
    fit.inverse = pick(is_taken, inverse, fit.inverse);
    fit.scale = pick(is_taken, scale, fit.scale);
    best = pick(is_taken, fit.scale * sum_xl, best);
  }
  fit.scale = pick(is_none, zero(), fit.scale);
  // Marks that nothing is there.
  fit.minimum = pick(is_none, splat(1), zero());
  fit.from = size;
  return fit;
}

static size_t q6_k_block(const float *values, const k_fits *fits, uint8_t *block) {
  uint8_t *const low = block, *const high = block + 128, *const scales = block + 192;
  float size = 0, largest = 0;
  int is_bounded = 1;
  for (int s = 0; s < 16; s++) {
    // Beyond this cubes are no floats, and far below no half is as large as the scale.
    is_bounded &= fits->from[s] < 1e12f;
    if (fabsf(fits->scale[s]) > size) size = fabsf(fits->scale[s]), largest = fits->scale[s];
  }
  if (size < 1e-15f) {
    memset(block, 0, 210);
    return (size_t)is_bounded;
  }
  const float inverse = -128.0f / largest, d = put_half(block + 208, 1 / inverse);
  uint8_t numbers[256];
  for (int s = 0; s < 16; s++) {
    const int scale = nearest_int(inverse * fits->scale[s]);
    scales[s] = (uint8_t)(scale < 127 ? scale : 127);
    const float step = d * (float)(int8_t)scales[s], *x = values + 16 * s;
    for (int i = 0; i < 16; i += LANES) {
      vec number = step != 0 ? load(x + i) / step : fits->inverse[s] * load(x + i);
      store_bytes(numbers + 16 * s + i, between(nearest(number), -32, 31) + 32);
    }
    if (step == 0 && fits->minimum[s] != 0) memset(numbers + 16 * s, 0, 16);
  }
  for (int half = 0; half < 2; half++) {
    const uint8_t *from = numbers + 128 * half;
    for (int i = 0; i < 64; i++) low[64 * half + i] = (uint8_t)((from[i] & 15) | (from[i + 64] & 15) << 4);
    for (int i = 0; i < 32; i++)
      high[32 * half + i] = (uint8_t)(from[i] >> 4 | (from[i + 32] >> 4) << 2 | (from[i + 64] >> 4) << 4 |
                                      (from[i + 96] >> 4) << 6);
  }
  return is_bounded && !isinf(d);
}

static size_t q6_k(const float *values, size_t count, uint8_t *blocks) {
  size_t good = count;
  for (size_t n = 0; n < count; n++, values += 256, blocks += 210) {
    k_fits fits;
    for (int first = 0; first < 16; first += LANES) {
      vec x[16];
      side_by_side(values + 16 * first, 16, x);
      const k_fit fit = fit_q6_k(x);
      put_fit(&fits, first, &fit);
    }
    if (!q6_k_block(values, &fits, blocks) && n < good) good = n;
  }
  return good;
}
