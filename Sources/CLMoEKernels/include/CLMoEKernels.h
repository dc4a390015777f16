// The C that Swift cannot be: checksums and plane loops at machine speed, and the syscalls that the
// Swift overlay of the C library lacks. Plain functions over bytes; no state.
#ifndef CLMOE_KERNELS_H
#define CLMOE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "CLMoEDecoding.h"

// MARK: Checksums (checksum.c)

typedef struct {
  uint64_t low;
  uint64_t high;
} lmoe_hash128;

/// XXH3-64, seed 0.
uint64_t lmoe_xxh3_64(const void *bytes, size_t length);
/// XXH3-128, seed 0.
lmoe_hash128 lmoe_xxh3_128(const void *bytes, size_t length);

/// Streaming XXH3, both widths of one state. Create, update any number of times, read the digest, free.
typedef struct lmoe_xxh3_state lmoe_xxh3_state;
lmoe_xxh3_state *lmoe_xxh3_create(void);
void lmoe_xxh3_reset(lmoe_xxh3_state *state);
void lmoe_xxh3_update(lmoe_xxh3_state *state, const void *bytes, size_t length);
lmoe_hash128 lmoe_xxh3_digest(const lmoe_xxh3_state *state);
uint64_t lmoe_xxh3_digest64(const lmoe_xxh3_state *state);
void lmoe_xxh3_free(lmoe_xxh3_state *state);

// MARK: Planes (planes.c)

/// Splits `count` little-endian elements of `width` bytes (1, 2, 4, 8) into `width` byte planes, plane p at
/// `planes + p * count`. With `rotate`, each element is first rotated left by one bit.
void lmoe_planes_split(const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotate);
/// The inverse: plane p is read at `planes[p]`.
void lmoe_planes_merge(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotate);
/// Copies field `width` bytes wide at `field` of each of `count` blocks of `block` bytes to `plane`, packed.
void lmoe_field_gather(const uint8_t *field, size_t block, size_t width, size_t count, uint8_t *plane);
void lmoe_field_scatter(const uint8_t *plane, size_t block, size_t width, size_t count, uint8_t *field);
/// Adds the byte histogram of `bytes` to `counts`.
void lmoe_histogram(const uint8_t *bytes, size_t length, uint32_t *counts);
/// 1 if both ranges hold the same bytes.
int lmoe_equal(const void *left, const void *right, size_t length);

/// The sum of the 64-bit words of [bytes, bytes + length): reads memory as fast as it goes, to measure that.
uint64_t lmoe_sum_words(const void *bytes, size_t length);

// MARK: Measures (measure.c)

/// The float types that are measured. Below zero, so that they are none of the schemes of blocks.
enum { LMOE_F64 = -4, LMOE_F32, LMOE_F16, LMOE_BF16 };

/// The sum of the squares of `count` values; `is_finite` becomes 0 if one is an infinity or a NaN, else 1.
double lmoe_sum_squares(const void *values, size_t count, int kind, int *is_finite);
/// The index of the first value that is an infinity or a NaN, or `count`.
size_t lmoe_first_nonfinite(const void *values, size_t count, int kind);
/// Converts to float32.
void lmoe_to_f32(const void *values, size_t count, int kind, float *out);
/// Fills `gram` (count x count) with the inner products of `count` rows of `length` floats.
void lmoe_gram(const float *rows, size_t count, size_t length, double *gram);
/// Writes the transpose of `matrix` (rows x columns) to `out`.
void lmoe_transpose(const float *matrix, size_t rows, size_t columns, float *out);
/// The same for any elements of four bytes, and of two.
void lmoe_transpose_32(const void *matrix, size_t rows, size_t columns, void *out);
void lmoe_transpose_16(const void *matrix, size_t rows, size_t columns, void *out);

// MARK: Quantized blocks (blocks_decode.c, blocks_quantize.c)

/// Schemes of quantized blocks, by their numbers in the registry.
enum {
  LMOE_Q4_0 = 2,
  LMOE_Q8_0 = 8,
  LMOE_Q4_K = 12,
  LMOE_Q6_K = 14,
  LMOE_NF4 = 256,
  LMOE_I8_ROW = 257,
  LMOE_I4_GROUP = 258
};
/// Bytes of a block of NF4, which has 16,384 elements.
enum { LMOE_NF4_BYTES = 8456 };

/// Bytes of a block of so many elements; 0 if the scheme is unknown, or has no blocks of that length.
size_t lmoe_block_bytes(int scheme, size_t block_elements);
/// Decodes `count` elements from element `first` of a tensor on. Elements are numbered in row-major order:
/// element j of row i of a matrix is i * columns + j, with every scheme.
void lmoe_dequantize(int scheme, size_t block_elements, const void *blocks, size_t first, size_t count, float *out);

/// Quantizes `count` finite values, whole blocks of any scheme but NF4, and returns `count`; or the first element
/// of the first block whose scale is too large for its type. Q8_0, Q4_0, Q4_K and Q6_K are ggml's bytes.
/// `importance` may be NULL: else each error of I4_GROUP, squared, counts as much as the number there.
size_t lmoe_quantize(int scheme, size_t block_elements, const float *values, const float *importance, size_t count,
                     void *blocks);
/// The largest sizes of the runs of 64 of `count` values, the last run perhaps a shorter one.
void lmoe_nf4_absmax(const float *values, size_t count, float *absmax);
/// The offset of a tensor of NF4: the mean of the largest sizes of all its runs.
float lmoe_nf4_offset(const float *absmax, size_t count);
/// Entry `index` of the tables of NF4: of its 16 values, and of the 256 of the map of its scales.
float lmoe_nf4_value(int index);
float lmoe_dynamic_value(int index);
/// Makes a block of NF4, bitsandbytes' bytes. Only the last block of a tensor has fewer than 16,384 values.
void lmoe_quantize_nf4(const float *values, size_t count, float offset, void *block);

/// How far numbers are from others.
typedef struct {
  double largest;
  /// Sums of squares: of the differences, and of the numbers.
  double differences, squares;
} lmoe_difference;
lmoe_difference lmoe_compare(const float *values, const float *others, size_t count);

// MARK: Products (gemm.c)

/// One term of a sum of products: `x` (m x depth, row-major, float32) times a weight of any float kind but F64, or of
/// quantized blocks.
typedef struct {
  const float *x;
  /// Floats from one row of x to the next.
  ptrdiff_t x_stride;
  const void *weight;
  /// Elements from one row of the weight to the next.
  ptrdiff_t weight_stride;
  /// LMOE_F32, LMOE_F16 or LMOE_BF16, or the scheme of the blocks.
  int kind;
  /// 1: the weight is columns x depth (x times its transpose, a linear layer); 0: it is depth x columns.
  int is_transposed;
  /// The length of the sums.
  size_t depth;
  /// Elements of a block, where there are blocks.
  size_t block;
  /// The element of a weight of NF4 that it begins with, for its blocks know no rows.
  size_t weight_first;
  /// Rows of x as lmoe_integer_rows makes them, if sums are to be of integers; null: of the floats they stand for.
  const void *x_integers;
} lmoe_term;

/// Whether products with a transposed weight of those blocks can be of integers.
int lmoe_has_integers(int scheme, size_t block);
/// Bytes of a row of x in fifteen bits.
size_t lmoe_integer_row_bytes(size_t depth);
/// Rows of x in fifteen bits with a scale for every 32 elements, rounded to nearest even: the largest becomes 127 * 128.
/// A run that holds an infinity or a NaN has the scale NaN; one whose largest element is below 2^-100 is zero. `out` is
/// 64-byte aligned.
void lmoe_integer_rows(const float *x, ptrdiff_t x_stride, size_t rows, size_t depth, void *out);

/// Columns [first, end) of y (m x columns) become, or with `accumulates` gain, the sum of all terms:
/// y[i][j] = sum_t sum_k x_t[i][k] * w_t[j][k]. Single-threaded; `scratch` has lmoe_gemm_scratch floats.
void lmoe_gemm(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch);
/// The floats of scratch that lmoe_gemm needs for sums of that total depth over all terms.
size_t lmoe_gemm_scratch(size_t depth);

/// The kernels in use: "avx512vnni", "avx512", "avx2" or "portable".
const char *lmoe_kernel_variant(void);
/// Makes the calling thread use those kernels, or with NULL again the best; 0 if this processor cannot.
int lmoe_select_kernels(const char *name);
/// Multiplies and adds floats in registers for `rounds` rounds of some nanoseconds each, to see how fast the processor
/// is at most; returns how many multiplications and additions that were. `values` has a factor and a term, which should
/// be such that sums stay finite; the first becomes a sum.
double lmoe_multiply_adds(size_t rounds, float *values);

// MARK: Attention of many queries (attention.c)

/// As many queries go at a time.
enum { LMOE_ATTENTION_QUERIES = 96 };

/// Queries of one head that follow each other, and the keys and values that they see.
typedef struct {
  /// rows x width, already divided by the square root of the width.
  const float *queries;
  ptrdiff_t query_stride;
  /// softmax(q kT) v: rows x width.
  float *out;
  ptrdiff_t out_stride;
  /// Of each row's scores the largest, and one over the sum of exponentials less that; if they are wanted.
  float *largest, *shares;
  /// Queries, at most LMOE_ATTENTION_QUERIES, and the width of a head.
  size_t rows, width;
  /// From position 0 on: LMOE_F32, LMOE_F16 or LMOE_BF16.
  const void *keys, *values;
  ptrdiff_t key_stride, value_stride;
  int kind;
  /// The position of the first query: it sees keys up to its own, of that many if `window` is not 0.
  size_t position, window;
} lmoe_attention;

/// Computes attention. A row has the same bits whatever rows it is together with. Single-threaded; `scratch` has
/// lmoe_attention_scratch floats, 64-byte aligned.
void lmoe_attend(const lmoe_attention *attention, float *scratch);
/// The floats of scratch for heads of that width.
size_t lmoe_attention_scratch(size_t width);

/// What the way back through attention needs, for one head of keys and values and all queries of a text.
typedef struct {
  /// Queries and keys, the width of a head, and how many heads of queries lie side by side that read these keys.
  size_t rows, width, group;
  /// As in lmoe_attention.
  size_t window;
  /// rows x group * width: queries as attention took them, and the gradient of what it gave.
  const float *queries, *gradients;
  ptrdiff_t query_stride, gradient_stride;
  /// rows x width.
  const float *keys, *values;
  ptrdiff_t key_stride;
  /// group x rows: of the scores what attention said; and of each head the products of gradient and result.
  const float *largest, *shares, *deltas;
  ptrdiff_t sums_stride, deltas_stride;
  /// rows x group * width, and rows x width twice: what was there is overwritten.
  float *query_gradients, *key_gradients, *value_gradients;
  ptrdiff_t query_gradient_stride, key_gradient_stride;
} lmoe_attention_gradient;

/// Computes the gradients of queries, keys and values. Single-threaded; `scratch` has
/// lmoe_attention_gradient_scratch floats, 64-byte aligned.
void lmoe_attend_backward(const lmoe_attention_gradient *gradient, float *scratch);
/// The floats of scratch for so many rows and heads of that width.
size_t lmoe_attention_gradient_scratch(size_t rows, size_t width);

// MARK: Element-wise passes (elementwise.c)

/// out[i] = x[i] * weight[i] / sqrt(mean(x^2) + epsilon), for each of `rows` rows of `width` floats. `kind` is
/// that of `weight`. The mean is summed in double precision.
void lmoe_rms_norm(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight, int kind,
                   double epsilon, float *out, ptrdiff_t out_stride);
/// gate[i] = silu(gate[i]) * up[i].
void lmoe_silu_multiply(float *gate, const float *up, size_t count);
/// x[i] += y[i].
void lmoe_add(float *x, const float *y, size_t count);
/// x[i] += bias[i], for each row; `kind` is that of `bias`.
void lmoe_add_bias(float *x, ptrdiff_t stride, size_t rows, size_t width, const void *bias, int kind);
/// Rotates each of `heads` heads of `width` floats in place: the pair (a, b) of elements i and i + width/2
/// becomes (a cos[i] - b sin[i], b cos[i] + a sin[i]).
void lmoe_rotate(float *x, size_t heads, size_t width, const float *cosines, const float *sines);
/// Turns `count` scores into their softmax in place; returns the logarithm of the sum of exponentials.
float lmoe_softmax(float *scores, size_t count);
/// log(sum(exp(scores))), summed in double precision.
double lmoe_log_sum_exp(const float *scores, size_t count);
/// Converts float32 to f16 (round to nearest even).
void lmoe_to_f16(const float *values, size_t count, uint16_t *out);

// MARK: Training (training.c)
// All values are float32, any number of them. What a result may share its memory with is said of each.

/// The gradient of lmoe_rms_norm. With r = 1 / sqrt(mean(x^2) + epsilon) and h = weight * dy:
/// dx = r * (h - r x * sum(h * r x) / width), or with `accumulates` that much is added. Sums in double
/// precision. Without `accumulates`, dx may be dy (of the same stride).
void lmoe_rms_norm_backward(const float *x, ptrdiff_t x_stride, size_t rows, size_t width, const void *weight,
                            int kind, double epsilon, const float *dy, ptrdiff_t dy_stride, float *dx,
                            ptrdiff_t dx_stride, int accumulates);
/// out[i] = silu(gate[i]) * up[i]. `out` may be either.
void lmoe_silu_product(const float *gate, const float *up, size_t count, float *out);
/// Given the gradient d of silu(gate) * up: gate_out = d * up * silu'(gate) and up_out = d * silu(gate).
/// The results may be any of the three, but not both the same.
void lmoe_silu_product_backward(const float *gate, const float *up, const float *d, size_t count,
                                float *gate_out, float *up_out);
/// The gradient of lmoe_rotate, which is its transpose: the pair (a, b) of elements i and i + width/2 becomes
/// (a cos[i] + b sin[i], b cos[i] - a sin[i]). For cosines and sines of plain angles that rotates back.
void lmoe_rotate_backward(float *x, size_t heads, size_t width, const float *cosines, const float *sines);
/// x[i] = exp(x[i] - minus), and sums[b] is the sum of the 32 values from 32 b on. Differences are cut off at 89.
void lmoe_exp_sums(float *x, size_t count, float minus, double *sums);
/// Returns -log(softmax(logits)[target]), and turns the logits into scale * (softmax(logits) - onehot(target)).
/// The sum of exponentials is in double precision. If any logit is not finite, all that comes back is NaN. A
/// target that is not below `count` gives NaN too, and leaves the logits alone.
double lmoe_cross_entropy(float *logits, size_t count, size_t target, float scale);
/// The sum of x[i] * y[i], in the order of this processor's lanes.
float lmoe_dot(const float *x, const float *y, size_t count);
/// out[i] = x[i] * factor. `out` may be x.
void lmoe_scale(const float *x, float factor, size_t count, float *out);
/// out[i] += x[i] * factor.
void lmoe_add_scaled(float *out, const float *x, float factor, size_t count);

/// The numbers of one step of AdamW. All are doubles, as torch.optim.AdamW has them: what is computed from them
/// (1 - beta2, rate / correction1) is computed so, and then rounded to float32 once.
typedef struct {
  double rate, beta1, beta2, epsilon, decay;
  /// 1 - beta1^t and 1 - beta2^t for the step t, which counts from 1.
  double correction1, correction2;
  /// What every gradient is multiplied by first.
  double gradient_scale;
} lmoe_adamw_step;

/// One step of AdamW with decoupled decay, in torch's order of operations: with g = gradient * gradient_scale,
/// w *= 1 - rate * decay; m += (1 - beta1) * (g - m); v = beta2 * v + (1 - beta2) * g * g;
/// w -= rate / correction1 * m / (sqrt(v) / sqrt(correction2) + epsilon).
void lmoe_adamw(float *w, float *m, float *v, const float *gradient, size_t count, const lmoe_adamw_step *step);

/// out[i] = x[i] / (1 - p) with probability 1 - p, else x[i] * 0. A hash of `key` and `first + i` decides, and
/// nothing else: every range, thread and instruction set makes the same mask again. `out` may be x.
void lmoe_dropout(const float *x, size_t count, uint64_t key, uint64_t first, float p, float *out);
/// The gradient of it: out[i] += d[i] / (1 - p) where that mask keeps i.
void lmoe_dropout_backward(const float *d, size_t count, uint64_t key, uint64_t first, float p, float *out);

/// Writes the transpose of `matrix` (rows x columns, `stride` floats from row to row) to `out` (columns x rows).
void lmoe_transpose_strided(const float *matrix, size_t rows, size_t columns, ptrdiff_t stride, float *out,
                            ptrdiff_t out_stride);

// MARK: Merging (merging.c)

/// The bins of a histogram of magnitudes: the upper half of their bits, which orders them.
enum { LMOE_MAGNITUDE_BINS = 32768 };

/// Adds to each of LMOE_MAGNITUDE_BINS bins how many values have a magnitude in it.
void lmoe_magnitude_histogram(const float *x, size_t count, uint64_t *bins);
/// Writes the magnitudes that lie in a bin to `out`, which has room for one more than there are. Returns how many
/// they are.
size_t lmoe_collect_magnitudes(const float *x, size_t count, uint32_t bin, float *out);
/// x[i] = 0 unless least <= |x[i]| <= most.
void lmoe_trim(float *x, size_t count, float least, float most);
/// The sum of |x[i]|, in double precision.
double lmoe_sum_magnitudes(const float *x, size_t count);

/// What an elected sum is divided by: nothing, the number of those who agree, or the sum of their weights.
enum { LMOE_DIVIDE_BY_NOTHING, LMOE_DIVIDE_BY_COUNT, LMOE_DIVIDE_BY_WEIGHTS };

/// The sign of sum_d votes[d] deltas[d][i] is elected (+ for 0); out[i] = factor times the sum of
/// weights[d] deltas[d][i] over those d whose vote has that sign, divided as said (by 1 if that is 0). `out` may be
/// any of the deltas.
void lmoe_elect(const float *const *deltas, size_t deltas_count, const float *votes, const float *weights,
                int divisor, float factor, size_t count, float *out);
/// Converts float32 to bf16 (round to nearest even).
void lmoe_to_bf16(const float *values, size_t count, uint16_t *out);

// MARK: System (system.c)

/// Takes (1), or gives up (0), an exclusive open-file-description lock on byte 1. 0 or an errno.
int lmoe_lock_writer(int descriptor, int take);
/// 1 if another open file description holds that lock, else 0.
int lmoe_writer_is_locked(int descriptor);
/// Reserves file blocks for [offset, offset + length) without changing the size. 0 or an errno.
int lmoe_reserve(int descriptor, int64_t offset, int64_t length);
/// Brings the pages of a file's map that hold these bytes in, for reading. 0 or an errno: EFAULT where touching
/// them would raise SIGBUS, EINVAL or ENOTSUP where the system cannot do it.
int lmoe_populate(const void *bytes, size_t length);
/// 1 if the system holds all pages of a file's map that hold these bytes, read without an error, else 0. Of a file
/// that is somebody else's it says 1 whatever is true.
int lmoe_is_resident(const void *bytes, size_t length);
/// 1 if the file belongs to the user that the process acts for, else 0.
int lmoe_is_own(int descriptor);
/// Makes a SIGBUS (an I/O error under a memory map) end the process with `message` on stderr and `status`.
void lmoe_exit_on_sigbus(const char *message, int status);
/// Remembers, and forgets, the path of a temporary file (up to 16 of them).
void lmoe_temporary_began(const char *path);
void lmoe_temporary_ended(const char *path);
/// From now on SIGINT, SIGTERM and SIGHUP remove the remembered files and end the process with 128 + number.
void lmoe_remove_temporaries_on_signals(void);
/// From now on the first SIGINT, SIGTERM or SIGHUP is only remembered; a second one ends the process as above.
void lmoe_catch_interrupts(void);
/// The number of the signal that was remembered; 0 if there was none.
int lmoe_interrupted(void);
/// Fills `bytes` from the system's random source. 0 or an errno.
int lmoe_random(void *bytes, size_t length);
/// errno of the last failed call of this thread.
int lmoe_errno(void);
void lmoe_clear_errno(void);
/// Tells the core that it is in a loop that waits for another one.
static inline void lmoe_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

#endif
