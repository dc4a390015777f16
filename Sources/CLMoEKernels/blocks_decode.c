// From quantized blocks to float32. Every value is computed in float32, each operation rounded once, as the
// registry writes it: plain loops that the compiler vectorises, the same bits on every processor.
#include "blocks.h"

#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) && !__has_feature(thread_sanitizer)
#define KERNEL __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define KERNEL
#endif
#pragma clang fp contract(off)

/// The longest run that is decoded at once.
enum { LONGEST_RUN = 128 };

// Each decodes whole runs: `runs` of them, from run `first` of the tensor on.

KERNEL static void decode_q8_0(const uint8_t *blocks, size_t first, size_t runs, float *out) {
  for (size_t run = first; run < first + runs; run++, out += 32) {
    const uint8_t *block = blocks + 34 * run;
    const float scale = half_at(block);
    const int8_t *quants = (const int8_t *)block + 2;
    for (int j = 0; j < 32; j++) out[j] = (float)quants[j] * scale;
  }
}

KERNEL static void decode_q4_0(const uint8_t *blocks, size_t first, size_t runs, float *out) {
  for (size_t run = first; run < first + runs; run++, out += 32) {
    const uint8_t *block = blocks + 18 * run, *quants = block + 2;
    const float scale = half_at(block);
    for (int j = 0; j < 16; j++) out[j] = (float)((quants[j] & 15) - 8) * scale;
    for (int j = 0; j < 16; j++) out[j + 16] = (float)((quants[j] >> 4) - 8) * scale;
  }
}

// Runs of 64: the two sub-blocks that share 32 bytes.
KERNEL static void decode_q4_k(const uint8_t *blocks, size_t first, size_t runs, float *out) {
  for (size_t run = first; run < first + runs; run++, out += 64) {
    const uint8_t *block = blocks + 144 * (run / 4), *quants = block + 16 + 32 * (run % 4);
    const float d = half_at(block), dmin = half_at(block + 2);
    for (int half = 0; half < 2; half++) {
      int scale, minimum;
      q4_k_scales(block + 4, 2 * (int)(run % 4) + half, &scale, &minimum);
      const float step = d * (float)scale, offset = dmin * (float)minimum;
      float *to = out + 32 * half;
      for (int j = 0; j < 32; j++) to[j] = step * (float)((quants[j] >> 4 * half) & 15) - offset;
    }
  }
}

// Runs of 128: half a block.
KERNEL static void decode_q6_k(const uint8_t *blocks, size_t first, size_t runs, float *out) {
  for (size_t run = first; run < first + runs; run++, out += 128) {
    const uint8_t *block = blocks + 210 * (run / 2);
    const uint8_t *low = block + 64 * (run % 2), *high = block + 128 + 32 * (run % 2);
    const int8_t *scales = (const int8_t *)block + 192 + 8 * (run % 2);
    const float d = half_at(block + 208);
    for (int part = 0; part < 4; part++) {
      const uint8_t *from = low + 32 * (part & 1);
      const int shift = 4 * (part >> 1);
      for (int half = 0; half < 2; half++) {
        const float step = d * (float)scales[2 * part + half];
        for (int j = 16 * half; j < 16 * half + 16; j++) {
          int q = ((from[j] >> shift) & 15) | ((high[j] >> 2 * part) & 3) << 4;
          out[32 * part + j] = step * (float)(q - 32);
        }
      }
    }
  }
}

// Runs of 64: those under one 8-bit scale.
static void decode_nf4(const uint8_t *blocks, size_t first, size_t runs, float *out) {
  for (size_t run = first; run < first + runs; run++, out += NF4_RUN) {
    const uint8_t *block = blocks + LMOE_NF4_BYTES * (run / NF4_RUNS);
    const uint8_t *quants = block + NF4_CODES + NF4_RUN / 2 * (run % NF4_RUNS);
    float scale = lmoe_dynamic_values[block[8 + run % NF4_RUNS]] * float_at(block + 4);
    scale += float_at(block);
    float values[16];
    for (int q = 0; q < 16; q++) values[q] = lmoe_nf4_values[q] * scale;
    for (int j = 0; j < NF4_RUN / 2; j++) {
      out[2 * j] = values[quants[j] >> 4];
      out[2 * j + 1] = values[quants[j] & 15];
    }
  }
}

KERNEL static void decode_i4_group(const uint8_t *blocks, size_t first, size_t runs, float *out, size_t group) {
  const size_t half = group / 2;
  for (size_t run = first; run < first + runs; run++, out += group) {
    const uint8_t *block = blocks + (3 + half) * run, *quants = block + 3;
    const float scale = half_at(block);
    const int zero = block[2];
    for (size_t j = 0; j < half; j++) out[j] = scale * (float)((quants[j] & 15) - zero);
    for (size_t j = 0; j < half; j++) out[j + half] = scale * (float)((quants[j] >> 4) - zero);
  }
}

// Rows of any length, from any element on.
KERNEL static void decode_i8_row(const uint8_t *blocks, size_t width, size_t first, size_t count, float *out) {
  while (count > 0) {
    const uint8_t *block = blocks + (4 + width) * (first / width);
    const size_t start = first % width, n = width - start < count ? width - start : count;
    const float scale = float_at(block);
    const int8_t *quants = (const int8_t *)block + 4 + start;
    for (size_t j = 0; j < n; j++) out[j] = scale * (float)quants[j];
    first += n, count -= n, out += n;
  }
}

KERNEL lmoe_difference lmoe_compare(const float *values, const float *others, size_t count) {
  enum { LANES = 16 };
  double differences[LANES] = {0}, squares[LANES] = {0};
  float largest[LANES] = {0};
  for (size_t i = 0; i < count; i += LANES) {
    const size_t n = count - i < LANES ? count - i : LANES;
    float from[LANES] = {0}, to[LANES] = {0};
    memcpy(from, values + i, n * sizeof *from);
    memcpy(to, others + i, n * sizeof *to);
    for (int k = 0; k < LANES; k++) {
      const float difference = from[k] - to[k], size = difference < 0 ? -difference : difference;
      largest[k] = size > largest[k] ? size : largest[k];
      differences[k] += (double)difference * (double)difference;
      squares[k] += (double)from[k] * (double)from[k];
    }
  }
  lmoe_difference result = {0, 0, 0};
  for (int k = 0; k < LANES; k++) {
    result.largest = largest[k] > result.largest ? largest[k] : result.largest;
    result.differences += differences[k];
    result.squares += squares[k];
  }
  return result;
}

static void decode_runs(int scheme, size_t run, const uint8_t *blocks, size_t first, size_t runs, float *out) {
  switch (scheme) {
  case LMOE_Q4_0: decode_q4_0(blocks, first, runs, out); break;
  case LMOE_Q8_0: decode_q8_0(blocks, first, runs, out); break;
  case LMOE_Q4_K: decode_q4_k(blocks, first, runs, out); break;
  case LMOE_Q6_K: decode_q6_k(blocks, first, runs, out); break;
  case LMOE_NF4: decode_nf4(blocks, first, runs, out); break;
  default: decode_i4_group(blocks, first, runs, out, run); break;
  }
}

/// Elements that are decoded together; 0 for a scheme without runs.
static size_t run_length(int scheme, size_t block_elements) {
  switch (scheme) {
  case LMOE_Q4_0:
  case LMOE_Q8_0: return 32;
  case LMOE_Q4_K:
  case LMOE_NF4: return 64;
  case LMOE_Q6_K: return 128;
  case LMOE_I4_GROUP: return block_elements;
  default: return 0;
  }
}

size_t lmoe_block_bytes(int scheme, size_t block_elements) {
  switch (scheme) {
  case LMOE_Q4_0: return block_elements == 32 ? 18 : 0;
  case LMOE_Q8_0: return block_elements == 32 ? 34 : 0;
  case LMOE_Q4_K: return block_elements == 256 ? 144 : 0;
  case LMOE_Q6_K: return block_elements == 256 ? 210 : 0;
  case LMOE_NF4: return block_elements == NF4_RUN * NF4_RUNS ? LMOE_NF4_BYTES : 0;
  case LMOE_I8_ROW: return block_elements > 0 ? 4 + block_elements : 0;
  case LMOE_I4_GROUP:
    return block_elements == 32 || block_elements == 64 || block_elements == 128 ? 3 + block_elements / 2 : 0;
  default: return 0;
  }
}

void lmoe_dequantize(int scheme, size_t block_elements, const void *blocks, size_t first, size_t count, float *out) {
  if (scheme == LMOE_I8_ROW) {
    decode_i8_row(blocks, block_elements, first, count, out);
    return;
  }
  const size_t run = run_length(scheme, block_elements);
  if (run == 0) return;
  while (count > 0) {
    const size_t start = first % run;
    size_t n = count / run * run;
    if (start == 0 && n > 0) {
      decode_runs(scheme, run, blocks, first / run, n / run, out);
    } else {
      float values[LONGEST_RUN];
      decode_runs(scheme, run, blocks, first / run, 1, values);
      n = run - start < count ? run - start : count;
      memcpy(out, values + start, n * sizeof *out);
    }
    first += n, count -= n, out += n;
  }
}
