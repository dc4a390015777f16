// Vectors of four floats in the compiler's own terms: SSE2 on x86-64, NEON on arm64, anything elsewhere.
#include <stdint.h>
#include <string.h>

enum { LANES = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_bits __attribute__((vector_size(16)));
typedef double vec_double __attribute__((vector_size(32)));
typedef float vec_anywhere __attribute__((vector_size(16), aligned(1), may_alias));
typedef float four __attribute__((vector_size(16)));

static inline vec zero(void) { return (vec){0}; }
static inline vec splat(float value) { return (vec){value, value, value, value}; }
static inline vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
static inline vec choose(vec_bits mask, vec a, vec b) { return (vec)((mask & (vec_bits)a) | (~mask & (vec_bits)b)); }
/// a if a > b, else b: b where one is a NaN.
static inline vec larger(vec a, vec b) { return choose(a > b, a, b); }
/// a if a < b, else b: b where one is a NaN.
static inline vec smaller(vec a, vec b) { return choose(a < b, a, b); }
static inline vec load(const float *from) { return *(const vec_anywhere *)from; }
static inline void store(float *to, vec value) { *(vec_anywhere *)to = value; }

/// The first `count` < LANES floats, the rest zero.
static inline vec load_part(const float *from, size_t count) {
  vec value = {0};
  for (size_t i = 0; i < count; i++) value[i] = from[i];
  return value;
}
static inline void store_part(float *to, vec value, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = value[i];
}

static inline vec from_f16_bits(vec_bits half) {
  // Subnormals and normals alike: the bits placed as a tiny float, then scaled by 2^112.
  vec_bits rest = half & 0x7FFF, wide = rest << 13;
  vec_bits is_special = rest >= 0x7C00;
  vec_bits scaled = (vec_bits)((vec)wide * 0x1p112f);
  return (vec)(((half & 0x8000) << 16) | (is_special & (wide | 0x7F800000)) | (~is_special & scaled));
}

static inline vec widen(const uint16_t *halves, int kind) {
#if defined(__aarch64__)
  typedef _Float16 vec_halves __attribute__((vector_size(8)));
  vec_halves as_halves;
  memcpy(&as_halves, halves, sizeof as_halves);
  if (kind == LMOE_F16) return __builtin_convertvector(as_halves, vec);
#endif
  vec_bits bits = {halves[0], halves[1], halves[2], halves[3]};
  return kind == LMOE_F16 ? from_f16_bits(bits) : (vec)(bits << 16);
}

/// LANES elements of a weight, which may lie anywhere.
static inline vec load_weight(const char *from, int kind) {
  if (kind == LMOE_F32) return *(const vec_anywhere *)from;
  uint16_t halves[LANES];
  memcpy(halves, from, sizeof halves);
  return widen(halves, kind);
}
static inline vec load_weight_part(const char *from, size_t count, int kind) {
  if (kind == LMOE_F32) {
    float values[LANES] = {0};
    for (size_t i = 0; i < count; i++) memcpy(values + i, from + 4 * i, 4);
    return load(values);
  }
  uint16_t halves[LANES] = {0};
  for (size_t i = 0; i < count; i++) memcpy(halves + i, from + 2 * i, 2);
  return widen(halves, kind);
}

/// LANES integers of eight bits.
static inline vec widen_bytes(const int8_t *from) {
  vec_bits values = {from[0], from[1], from[2], from[3]};
  return __builtin_convertvector(values, vec);
}

/// The 64 values of `table` by 4 bits each of 32 bytes, of a byte the high ones first.
static inline void look_up_64(const float *table, const uint8_t *from, vec values[64 / LANES]) {
  for (int part = 0; part < 64 / LANES; part++) {
    const uint8_t *pair = from + 2 * part;
    values[part] = (vec){table[pair[0] >> 4], table[pair[0] & 15], table[pair[1] >> 4], table[pair[1] & 15]};
  }
}
/// What the f16 at an address stands for, in all lanes.
static inline vec splat_half(const uint8_t *from) {
  uint16_t half;
  memcpy(&half, from, 2);
  return from_f16_bits((vec_bits){half, half, half, half});
}

static inline void transpose(vec v[LANES]) {
  vec a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  vec c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/// The largest of the lanes, none of which is a NaN.
static inline float largest_lane(vec value) {
  value = larger(value, __builtin_shufflevector(value, value, 2, 3, 0, 1));
  value = larger(value, __builtin_shufflevector(value, value, 1, 0, 3, 2));
  return value[0];
}

/// value * 2^power, of whole powers up to 127; infinity for 128, and 0 below -126. `exponents` have power + 127 in their
/// lowest bits, above which those that are left after a shift by 23 are zero.
static inline vec times_power_of_two(vec value, vec power, vec exponents) {
  const vec_bits is_tiny = power < -126.0f;
  return (vec)(~is_tiny & (vec_bits)(value * (vec)((vec_bits)exponents << 23)));
}

/// The sums of the lanes of four vectors. Each is added up in the same order, wherever it stands.
static inline four sums(vec a, vec b, vec c, vec d) {
  vec v[4] = {a, b, c, d};
  transpose(v);
  return (v[0] + v[2]) + (v[1] + v[3]);
}

/// Rounds to nearest even; too large becomes infinity, a NaN stays one.
static inline void store_f16(uint16_t *to, vec value) {
  vec_bits bits = (vec_bits)value, sign = (bits >> 16) & 0x8000, rest = bits & 0x7FFFFFFF;
  // Normal: rebias, and add what carries into the kept bits if the dropped ones round up.
  vec_bits odd = (rest >> 13) & 1;
  vec_bits normal = (rest - (112 << 23) + 0xFFF + odd) >> 13;
  // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
  vec_bits small = (vec_bits)((vec)rest + 0.5f) - 0x3F000000;
  vec_bits nan = 0x7E00 | ((rest >> 13) & 0x3FF);
  vec_bits is_small = rest < 0x38800000, is_large = rest >= 0x47800000, is_nan = rest > 0x7F800000;
  vec_bits half = (is_small & small) | (~is_small & normal);
  half = (is_large & 0x7C00) | (~is_large & half);
  half = sign | (is_nan & nan) | (~is_nan & half);
  for (int i = 0; i < LANES; i++) {
    uint16_t narrow = (uint16_t)half[i];
    memcpy(to + i, &narrow, 2);
  }
}
