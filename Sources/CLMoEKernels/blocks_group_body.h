// I4_GROUP: groups with a scale and a zero. A part of blocks_body.h.

/// What a group is rounded with. The scale is one that a half holds.
typedef struct {
  float scale;
  int zero;
} group_fit;

static inline float as_half(float value) {
  uint8_t half[2];
  return put_half(half, value);
}

static inline vec_bits group_numbers(vec x, group_fit fit) { return between(nearest(x / fit.scale) + fit.zero, 0, 15); }

/// The fit for values from `low` <= 0 to `high` >= 0.
static inline group_fit group_range(float low, float high) {
  group_fit fit = {as_half((high - low) / 15), 0};
  if (fit.scale <= 0) return (group_fit){0, 0};
  const int zero_number = nearest_int(-low / fit.scale);
  fit.zero = zero_number > 15 ? 15 : zero_number;
  return fit;
}

// Sums over sixteen virtual lanes, whatever the processor's are: what is chosen must not depend on it.
typedef struct {
  vec parts[16 / LANES];
} group_sum;
static inline void add_to(group_sum *sum, size_t i, vec value) { sum->parts[i / LANES % (16 / LANES)] += value; }
static inline float total_of(const group_sum *sum) {
  float lanes[16], total = 0;
  memcpy(lanes, sum->parts, sizeof lanes);
  for (int i = 0; i < 16; i++) total += lanes[i];
  return total;
}

static inline float group_error(const float *values, const float *importance, size_t group, group_fit fit) {
  group_sum sum = {0};
  for (size_t i = 0; i < group; i += LANES) {
    vec x = load(values + i);
    vec error = fit.scale * to_floats(group_numbers(x, fit) - fit.zero) - x;
    add_to(&sum, i, load(importance + i) * (error * error));
  }
  return total_of(&sum);
}

/// The scale that is best for the numbers that `fit` gives.
static inline float group_slope(const float *values, const float *importance, size_t group, group_fit fit) {
  group_sum products = {0}, squares = {0};
  for (size_t i = 0; i < group; i += LANES) {
    vec x = load(values + i), number = to_floats(group_numbers(x, fit) - fit.zero);
    vec weighted = load(importance + i) * number;
    add_to(&products, i, weighted * x);
    add_to(&squares, i, weighted * number);
  }
  const float square = total_of(&squares);
  return square > 0 ? as_half(total_of(&products) / square) : 0;
}

/// The best of ranges that are cut off more and more, each with the best scale for its numbers.
static inline group_fit group_search(const float *values, const float *importance, size_t group, float low,
                                     float high) {
  group_fit best = group_range(low, high);
  if (best.scale == 0) return best;
  float least = group_error(values, importance, group, best);
  for (int step = 0; step < 24; step++) {
    const float kept = 1.0f - 0.025f * (float)step;
    group_fit fit = group_range(kept * low, kept * high);
    for (int turn = 0; turn < 3 && fit.scale > 0; turn++) {
      const float error = group_error(values, importance, group, fit);
      if (error < least) least = error, best = fit;
      fit.scale = group_slope(values, importance, group, fit);
    }
  }
  return best;
}

static size_t i4_group(const float *values, const float *importance, size_t group, size_t count, uint8_t *blocks) {
  size_t good = count;
  for (size_t n = 0; n < count; n++, values += group, blocks += 3 + group / 2) {
    vec smallest = zero(), largest = zero();
    for (size_t i = 0; i < group; i += LANES) {
      smallest = smaller(load(values + i), smallest);
      largest = larger(load(values + i), largest);
    }
    const float low = -largest_lane(-smallest), high = largest_lane(largest);
    const group_fit fit = importance ? group_search(values, importance + n * group, group, low, high)
                                     : group_range(low, high);
    if (isinf(fit.scale) && n < good) good = n;
    put_half(blocks, fit.scale);
    blocks[2] = (uint8_t)fit.zero;
    for (size_t i = 0; i < group / 2; i += LANES) {
      vec_bits first = {0}, second = {0};
      if (fit.scale > 0) {
        first = group_numbers(load(values + i), fit);
        second = group_numbers(load(values + group / 2 + i), fit);
      }
      store_bytes(blocks + 3 + i, first | second << 4);
    }
  }
  return good;
}
