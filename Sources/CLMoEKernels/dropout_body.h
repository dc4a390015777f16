// Dropout from a counter: the same mask again whenever it is asked for. A part of every instruction set's
// translation unit.

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
