// What the processor's multipliers do at most: no memory, no waiting for each other. A part of every instruction set's
// translation unit.

/// `rounds` rounds of multiply-adds in registers; how many multiplications and additions of floats that were.
static double multiply_adds(size_t rounds, float *values) {
  // More chains than a fused multiply-add takes cycles times the units that do them, fewer than the registers there
  // are. (Without fused ones, as the portable kernels are, a little less than the peak comes out.)
  enum { CHAINS = 12 };
  vec sum[CHAINS];
  const vec factor = splat(values[0]), term = splat(values[1]);
  EACH(i, CHAINS) sum[i] = splat((float)i);
  for (size_t round = 0; round < rounds; round++) {
    EACH(i, CHAINS) sum[i] = multiply_add(sum[i], factor, term);
  }
  vec all = sum[0];
  for (int i = 1; i < CHAINS; i++) all += sum[i];
  // Somebody has to look at it, else it would not be computed.
  values[0] = all[0];
  return 2.0 * LANES * CHAINS * (double)rounds;
}
