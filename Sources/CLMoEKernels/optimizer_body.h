// Sums, and the steps of the optimiser. A part of every instruction set's translation unit.

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
    // What torch does in two steps is two statements here, or the compiler would round only once.
    vec variance = load_lanes(v + i, n) * beta2;
    variance = multiply_add(squared * g, g, variance);
    vec denominator = __builtin_elementwise_sqrt(variance) / root;
    denominator += epsilon;
    vec value = load_lanes(w + i, n) * kept;
    value += size * mean / denominator;
    store_lanes(m + i, mean, n);
    store_lanes(v + i, variance, n);
    store_lanes(w + i, value, n);
  })
}
