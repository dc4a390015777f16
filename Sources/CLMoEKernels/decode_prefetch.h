// Memory that is asked for while there is something else to do.
#ifndef LMOE_DECODE_PREFETCH_H
#define LMOE_DECODE_PREFETCH_H
#include "decode_strips.h"

/// Asks for columns [first, end) of rows of B, which lie far apart, before there is something else to do: as much as
/// leaves room in the nearest caches.
static inline void prefetch_up(const lmoe_matrix *up, const run *own, size_t first, size_t end) {
  enum { ROOM = 48 << 10 };
  if (up->kind == LMOE_NF4) return;
  const size_t block = up->kind < 0 ? 1 : up->block, stride = bytes_of(up, up->columns);
  const size_t start = first / block * block, bytes = bytes_of(up, (end - start + block - 1) / block * block);
  size_t rows = ROOM / (bytes + LINE);
  if (rows > own->count) rows = own->count;
  const char *at = (const char *)up->values + own->first * stride + bytes_of(up, start);
  for (size_t row = 0; row < rows; row++, at += stride)
    for (size_t offset = 0; offset <= bytes; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
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
