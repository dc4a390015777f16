// From float32 to quantized blocks. A part of every instruction set's translation unit.
//
// What ggml's reference quantizers and bitsandbytes give, byte for byte: each sum is added up in their order, and
// no product is fused with a sum. Where an order matters, lanes hold different sub-blocks, not neighbours.
#pragma clang fp contract(off)

typedef uint8_t vec_bytes __attribute__((vector_size(LANES)));

#define ABS(value) __builtin_elementwise_abs(value)
#define SMALLEST(a, b) __builtin_elementwise_min(a, b)
#define LARGEST(a, b) __builtin_elementwise_max(a, b)

static inline vec pick(vec_bits mask, vec a, vec b) {
  return (vec)((mask & (vec_bits)a) | (~mask & (vec_bits)b));
}

/// The nearest integer, ties to even, by way of a sum whose low bits it is; as ggml has it, beyond 2^22 too.
static inline vec_bits nearest(vec value) {
  vec_bits bits = (vec_bits)(value + 12582912.0f);
  return (bits & 0x7FFFFF) - 0x400000;
}
static inline int nearest_int(float value) {
  float sum = value + 12582912.0f;
  int32_t bits;
  memcpy(&bits, &sum, 4);
  return (bits & 0x7FFFFF) - 0x400000;
}
static inline vec_bits between(vec_bits value, int low, int high) {
  return LARGEST(SMALLEST(value, (vec_bits){0} + high), (vec_bits){0} + low);
}
static inline vec to_floats(vec_bits value) { return __builtin_convertvector(value, vec); }
/// Towards zero; 0 for what is not a small number.
static inline vec_bits truncated(vec value) {
  vec_bits is_small = ABS(value) < 1000.0f;
  return __builtin_convertvector((vec)(is_small & (vec_bits)value), vec_bits);
}
static inline void store_bytes(uint8_t *to, vec_bits value) {
  vec_bytes bytes = __builtin_convertvector(value, vec_bytes);
  memcpy(to, &bytes, sizeof bytes);
}

/// Writes a half, and returns what it says.
static inline float put_half(uint8_t *to, float value) {
  uint16_t halves[LANES];
  store_f16(halves, splat(value));
  memcpy(to, halves, 2);
  return half_at(to);
}

/// LANES runs of `length` neighbours side by side: out[i] has element i of each.
static inline void side_by_side(const float *values, int length, vec *out) {
  for (int first = 0; first < length; first += LANES) {
    for (int i = 0; i < LANES; i++) out[first + i] = load(values + i * length + first);
    transpose(out + first);
  }
}

#include "blocks_k_body.h"

static float largest_of(const float *values, size_t count) {
  vec largest = zero();
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) largest = larger(ABS(load(values + i)), largest);
  if (i < count) largest = larger(ABS(load_part(values + i, count - i)), largest);
  return largest_lane(largest);
}

static size_t q8_0(const float *values, size_t count, uint8_t *blocks) {
  size_t good = count;
  for (size_t n = 0; n < count; n++, values += 32, blocks += 34) {
    vec largest = zero();
    for (int i = 0; i < 32; i += LANES) largest = larger(ABS(load(values + i)), largest);
    const float d = largest_lane(largest) / 127, inverse = d != 0 ? 1.0f / d : 0;
    if (isinf(put_half(blocks, d)) && n < good) good = n;
    for (int i = 0; i < 32; i += LANES) {
      vec value = load(values + i) * inverse;
      // To the nearest, ties away from zero: the half less one bit does not carry what is below one.
      vec half = (vec)(((vec_bits)value & INT32_MIN) | (vec_bits)splat(0x1.fffffep-2f));
      store_bytes(blocks + 2 + i, truncated(value + half));
    }
  }
  return good;
}

/// The first of the values whose size is the largest; 0 if all are zeros of either sign.
static inline float first_largest(const float *values, int count) {
  vec high = zero(), low = zero();
  for (int i = 0; i < count; i += LANES) {
    high = larger(load(values + i), high);
    low = larger(-load(values + i), low);
  }
  const float above = largest_lane(high), below = largest_lane(low);
  if (above != below) return above > below ? above : -below;
  if (above == 0) return 0;
  while (fabsf(*values) != above) values++;
  return *values;
}

static size_t q4_0(const float *values, size_t count, uint8_t *blocks) {
  size_t good = count;
  for (size_t n = 0; n < count; n++, values += 32, blocks += 18) {
    const float d = first_largest(values, 32) / -8, inverse = d != 0 ? 1.0f / d : 0;
    if (isinf(put_half(blocks, d)) && n < good) good = n;
    for (int i = 0; i < 16; i += LANES) {
      vec low = load(values + i) * inverse, high = load(values + 16 + i) * inverse;
      vec_bits first = SMALLEST(truncated(low + 8.5f), (vec_bits){0} + 15);
      vec_bits second = SMALLEST(truncated(high + 8.5f), (vec_bits){0} + 15);
      store_bytes(blocks + 2 + i, first | second << 4);
    }
  }
  return good;
}

static float nf4_largest(const float *values, size_t count) { return largest_of(values, count); }

static void nf4_run(const float *values, size_t count, float largest, uint8_t *quants) {
  // A whole run is multiplied by the inverse, a part of one divided.
  const int is_whole = count == NF4_RUN;
  const float bound = largest > 1e-38f ? largest : 1e-38f, inverse = 1.0f / bound;
  uint8_t numbers[NF4_RUN] = {0};
  for (size_t i = 0; i < count; i += LANES) {
    vec value = i + LANES <= count ? load(values + i) : load_part(values + i, count - i);
    value = is_whole ? value * inverse : value / bound;
    vec_bits number = {0};
    for (int q = 0; q < 15; q++) {
      const float middle = (lmoe_nf4_values[q] + lmoe_nf4_values[q + 1]) / 2;
      number -= value > middle;
    }
    store_bytes(numbers + i, number);
  }
  // What pads an odd number of values is a zero among them, not a zero byte.
  for (size_t i = count; i < NF4_RUN; i++) numbers[i] = i == count && count % 2 ? 7 : 0;
  for (int i = 0; i < NF4_RUN / 2; i++) quants[i] = (uint8_t)(numbers[2 * i] << 4 | numbers[2 * i + 1]);
}

static void i8_row(const float *values, size_t length, uint8_t *block) {
  const float largest = largest_of(values, length), scale = largest / 127;
  memcpy(block, &scale, 4);
  uint8_t *quants = block + 4;
  size_t i = 0;
  for (; largest > 0 && i + LANES <= length; i += LANES)
    store_bytes(quants + i, nearest(load(values + i) / largest * 127.0f));
  for (; i < length; i++) quants[i] = largest > 0 ? (uint8_t)nearest_int(values[i] / largest * 127.0f) : 0;
}

#include "blocks_group_body.h"

const lmoe_block_kernels BLOCKS = {q8_0, q4_0, q4_k, q6_k, i4_group, i8_row, nf4_largest, nf4_run};
