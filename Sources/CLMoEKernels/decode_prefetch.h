// Memory that is asked for while there is something else to do.
#ifndef LMOE_DECODE_PREFETCH_H
#define LMOE_DECODE_PREFETCH_H
#include "decode_strips.h"

/// Bytes that leave room in the nearest caches.
enum { PREFETCH_ROOM = 48 << 10 };

/// Asks for B of outputs [first, end), before there is something else to do: as much as there is room for, of which
/// what is left is returned. Transposed, it is as many pieces as there are ranks, far apart.
static inline size_t prefetch_up(const lmoe_slot *slot, size_t first, size_t end, size_t room) {
  const lmoe_matrix *up = &slot->up;
  if (up->kind == LMOE_NF4) return room;
  if (!slot->up_is_transposed) {
    size_t bytes = bytes_of(up, (end - first) * slot->count);
    if (bytes > room) bytes = room;
    const char *at = (const char *)up->values + bytes_of(up, first * slot->count);
    for (size_t offset = 0; offset < bytes; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
    return room - bytes;
  }
  const size_t block = up->kind < 0 ? 1 : up->block, stride = bytes_of(up, up->columns);
  const size_t start = first / block * block, bytes = bytes_of(up, (end - start + block - 1) / block * block);
  size_t rows = room / (bytes + LINE);
  if (rows > slot->count) rows = slot->count;
  const char *at = (const char *)up->values + bytes_of(up, start);
  for (size_t row = 0; row < rows; row++, at += stride)
    for (size_t offset = 0; offset <= bytes; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
  return room - rows * (bytes + LINE);
}

/// Asks for rows [first, end) of A, as many as leave room in the nearest caches.
static inline void prefetch_rows(const lmoe_matrix *down, size_t first, size_t end) {
  enum { ROOM = 32 << 10 };
  const lmoe_term from = term_of(down, first, NULL, 1);
  size_t bytes = bytes_of(down, (end - first) * down->columns);
  if (bytes > ROOM) bytes = ROOM;
  for (size_t offset = 0; offset < bytes; offset += LINE)
    __builtin_prefetch((const char *)from.weight + offset, 0, 2);
}

/// Begins a task's strip, and asks for it at once.
static inline void prefetch_strip(const stage *stage, worker *self, size_t task) {
  self->strip = stage->strips[task];
  for (const char *at = self->strip; at < stage->strips[task + 1]; at += LINE) __builtin_prefetch(at, 0, 2);
}
#endif
