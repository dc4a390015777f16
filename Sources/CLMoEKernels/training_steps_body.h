// Sums, optimiser steps, dropout and transposition. A part of every instruction set's translation unit.

static float dot(const float *x, const float *y, size_t count) {
  // Four sums at a time, for one alone waits for itself.
  vec total[4] = {zero(), zero(), zero(), zero()};
  size_t done = 0;
  for (; done + 4 * LANES <= count; done += 4 * LANES)
    for (int k = 0; k < 4; k++)
      total[k] = multiply_add(load(x + done + k * LANES), load(y + done + k * LANES), total[k]);
  PASS(count - done,
       total[0] = multiply_add(load_lanes(x + done + i, n), load_lanes(y + done + i, n), total[0]);)
  return sum_of((total[0] + total[1]) + (total[2] + total[3]));
}

static void scale(const float *x, float factor, size_t count, float *out) {
  PASS(count, store_lanes(out + i, load_lanes(x + i, n) * factor, n);)
}

static void add_scaled(float *out, const float *x, float factor, size_t count) {
  const vec factors = splat(factor);
  PASS(count, store_lanes(out + i, multiply_add(load_lanes(x + i, n), factors, load_lanes(out + i, n)), n);)
}

static void adamw(float *w, float *m, float *v, const float *gradient, size_t count, const lmoe_adamw_step *step) {
  const float gradient_scale = (float)step->gradient_scale, kept = (float)(1 - step->rate * step->decay);
  const float beta2 = (float)step->beta2, squared = (float)(1 - step->beta2);
  const float root = (float)sqrt(step->correction2), epsilon = (float)step->epsilon;
  const float size = (float)(-step->rate / step->correction1);
  // torch's lerp starts from the nearer end.
  const float weight = (float)(1 - step->beta1);
  const int from_mean = weight < 0.5f;
  const vec toward = splat(from_mean ? weight : weight - 1);
  PASS(count, {
    vec g = load_lanes(gradient + i, n) * gradient_scale, mean = load_lanes(m + i, n);
    mean = multiply_add(toward, g - mean, from_mean ? mean : g);
    // Each product a statement of its own, so that all are rounded as torch's are.
    vec square = squared * g * g, variance = load_lanes(v + i, n) * beta2;
    variance += square;
    vec denominator = __builtin_elementwise_sqrt(variance) / root;
    denominator += epsilon;
    vec value = load_lanes(w + i, n) * kept;
    value += size * mean / denominator;
    store_lanes(m + i, mean, n);
    store_lanes(v + i, variance, n);
    store_lanes(w + i, value, n);
  })
}

/// Mixes all 64 bits.
static inline uint64_t mixed(uint64_t bits) {
  bits = (bits ^ (bits >> 32)) * 0xD6E8FEB86659FD93u;
  bits = (bits ^ (bits >> 32)) * 0xD6E8FEB86659FD93u;
  return bits ^ (bits >> 32);
}

typedef struct {
  /// What the high half of the numbers and the key come to.
  uint32_t seeds[2];
  /// Out of 2^31.
  int32_t threshold;
  float factor;
} dropping;

static inline dropping dropping_of(uint64_t key, uint64_t number, float p) {
  const uint64_t seed = mixed(mixed(key + 0x9E3779B97F4A7C15u) ^ (number >> 32));
  dropping drop = {{(uint32_t)seed, (uint32_t)(seed >> 32)}, 0, 1};
  if (p >= 1) {
    drop.threshold = INT32_MAX;
    drop.factor = 0;
  } else if (p > 0) {
    drop.threshold = (int32_t)(p * 0x1p31f);
    drop.factor = (float)(1 / (1 - (double)p));
  }
  return drop;
}

/// What the elements from that number on are multiplied by: 0, or 1/(1 - p).
static inline __attribute__((always_inline)) vec dropout_factors(const dropping *drop, uint32_t number) {
  vec_unsigned bits;
  memcpy(&bits, lane_numbers, sizeof bits);
  bits = (bits + number) ^ drop->seeds[0];
  // Three rounds of an integer hash, one seed before it and one inside: two keys have no shifted masks in common.
  bits = (bits ^ (bits >> 17)) * 0xED5AD4BBu;
  bits = ((bits ^ (bits >> 11)) + drop->seeds[1]) * 0xAC4C1B51u;
  bits = (bits ^ (bits >> 15)) * 0x31848BABu;
  bits ^= bits >> 14;
  return (vec)((vec_bits)((vec_bits)(bits >> 1) >= drop->threshold) & (vec_bits)splat(drop->factor));
}

/// Runs the statements as PASS does, with the `factors` of the elements. The hash is of 32 bits, and the rest of
/// the numbers goes into its seeds: they change where the low half overflows.
#define DROPPED_PASS(count, key, first, p, ...)                                                    \
  for (size_t begin = 0, length; begin < (count); begin += length) {                               \
    const uint64_t number = (first) + begin, left = (UINT64_C(1) << 32) - (uint32_t)number;        \
    length = (count) - begin < left ? (count) - begin : (size_t)left;                              \
    const dropping drop = dropping_of(key, number, p);                                             \
    PASS(length, {                                                                                 \
      vec factors = dropout_factors(&drop, (uint32_t)(number + i));                                \
      __VA_ARGS__                                                                                  \
    })                                                                                             \
  }

static void dropout(const float *x, size_t count, uint64_t key, uint64_t first, float p, float *out) {
  DROPPED_PASS(count, key, first, p, store_lanes(out + begin + i, load_lanes(x + begin + i, n) * factors, n);)
}

static void dropout_backward(const float *d, size_t count, uint64_t key, uint64_t first, float p, float *out) {
  DROPPED_PASS(count, key, first, p, {
    vec sum = multiply_add(load_lanes(d + begin + i, n), factors, load_lanes(out + begin + i, n));
    store_lanes(out + begin + i, sum, n);
  })
}

static void transpose_strided(const float *matrix, size_t rows, size_t columns, ptrdiff_t stride, float *out,
                              ptrdiff_t out_stride) {
  // Down the rows first: what is written then follows itself in LANES rows of the result.
  for (size_t c = 0; c < columns; c += LANES) {
    const size_t width = columns - c < LANES ? columns - c : LANES;
    PASS(rows, {
      const float *from = matrix + (ptrdiff_t)i * stride + c;
      float *to = out + (ptrdiff_t)c * out_stride + i;
      vec block[LANES];
      if (width == LANES && n == LANES) {
        for (int k = 0; k < LANES; k++) block[k] = load(from + k * stride);
        transpose(block);
        for (int k = 0; k < LANES; k++) store(to + k * out_stride, block[k]);
      } else {
        for (size_t k = 0; k < LANES; k++)
          block[k] = k < n ? load_lanes(from + (ptrdiff_t)k * stride, width) : zero();
        transpose(block);
        for (size_t k = 0; k < width; k++) store_lanes(to + (ptrdiff_t)k * out_stride, block[k], n);
      }
    })
  }
}
