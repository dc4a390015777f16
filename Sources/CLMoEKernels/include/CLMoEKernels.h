// The C that Swift cannot be: checksums and plane loops at machine speed, and the syscalls that the
// Swift overlay of the C library lacks. Plain functions over bytes; no state.
#ifndef CLMOE_KERNELS_H
#define CLMOE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

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

/// The float types that are measured.
enum { LMOE_F64, LMOE_F32, LMOE_F16, LMOE_BF16 };

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

// MARK: System (system.c)

/// Takes (1), or gives up (0), an exclusive open-file-description lock on byte 1. 0 or an errno.
int lmoe_lock_writer(int descriptor, int take);
/// 1 if another open file description holds that lock, else 0.
int lmoe_writer_is_locked(int descriptor);
/// Reserves file blocks for [offset, offset + length) without changing the size. 0 or an errno.
int lmoe_reserve(int descriptor, int64_t offset, int64_t length);
/// Makes a SIGBUS (an I/O error under a memory map) end the process with `message` on stderr and `status`.
void lmoe_exit_on_sigbus(const char *message, int status);
/// Remembers, and forgets, the path of a temporary file (up to 16 of them).
void lmoe_temporary_began(const char *path);
void lmoe_temporary_ended(const char *path);
/// From now on SIGINT, SIGTERM and SIGHUP remove the remembered files and end the process with 128 + number.
void lmoe_remove_temporaries_on_signals(void);
/// Fills `bytes` from the system's random source. 0 or an errno.
int lmoe_random(void *bytes, size_t length);
/// errno of the last failed call of this thread.
int lmoe_errno(void);
void lmoe_clear_errno(void);

#endif
