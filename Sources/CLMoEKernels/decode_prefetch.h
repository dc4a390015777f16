// Memory that is asked for while there is something else to do.
#ifndef LMOE_DECODE_PREFETCH_H
#define LMOE_DECODE_PREFETCH_H
#include "decode_products.h"
#include "panels.h"

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

enum { CHUNK = 32, BEGINNING = 8 << 10 };

static inline void note_bytes(prefetch *list, const void *from, size_t bytes) {
  // What is long comes by itself, once it has begun.
  enum { LONG = 32 << 10 };
  if (list->count == MOST_STRIPS || bytes > LONG) return;
  list->strips[list->count].at = from;
  list->strips[list->count++].end = (const char *)from + bytes;
}

/// Notes a part of some panels, of which each has `width` columns.
static inline void note(prefetch *list, const void *panels, size_t bytes, size_t width, size_t first, size_t end) {
  if (!panels || first >= end) return;
  note_bytes(list, (const char *)panels + first / width * bytes, ((end - 1) / width - first / width + 1) * bytes);
}

static inline void prefetch_some(prefetch *list) {
  for (size_t left = list->share; left > 0 && list->next < list->count; left--) {
    const char **at = &list->strips[list->next].at;
    __builtin_prefetch(*at, 0, 2);
    *at += LINE;
    if (*at >= list->strips[list->next].end) list->next++;
  }
}

/// Bytes of a panel of B, and of the columns of A that lie together, and how many columns those are.
static inline size_t up_bytes(const lmoe_matrix *up, size_t *width) {
  *width = up->kind < 0 ? PANEL : Q8_PANEL;
  return up->kind < 0 ? PANEL * up->rows * float_bytes(up->kind) : up_ranks(up->rows) * Q8_BYTES;
}
static inline size_t down_bytes(const lmoe_matrix *down, size_t *width) {
  *width = down->kind < 0 ? 1 : Q8_PANEL;
  return down->kind < 0 ? down->rows * float_bytes(down->kind) : down_ranks(down->rows) * Q8_BYTES;
}

/// Notes what a task reads beside the weights of the base.
static inline void note_factors(const lmoe_decoder *d, const stage *stage, worker *self, size_t first, size_t end) {
  prefetch *list = &self->prefetch;
  list->count = list->next = 0;
  const lmoe_linear *linears[MOST_LINEARS];
  size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears), chunks = 0, before = 0, width;
  const factor_panels *panels = lmoe_decode_panels(d, stage->group, stage->layer);
  for (size_t i = 0; i < count; i++) {
    const size_t rows = linears[i]->weight.rows;
    // Queries, keys and values lie one after the other, gates and what they let through side by side.
    const size_t offset = stage->group == GROUP_ATTENTION ? before : 0;
    const size_t low = first > offset ? first - offset : 0, high = end < offset + rows ? end - offset : rows;
    before += rows;
    if (end <= offset || low >= high) continue;
    chunks += (high - low + CHUNK - 1) / CHUNK;
    // A product asks for the rows to come by itself, but not for those of another matrix.
    if (i > 0) note_bytes(list, term_of(&linears[i]->weight, low, NULL, 1).weight, BEGINNING);
    note(list, panels[i].up, up_bytes(&linears[i]->up, &width), width, low, high);
  }
  if (stage->makes_u) {
    size_t layer;
    const group_kind group = next_group(&d->model, stage, &layer);
    count = lmoe_decode_linears(&d->model, group, layer, linears);
    panels = lmoe_decode_panels(d, group, layer);
    for (size_t i = 0; i < count; i++)
      note(list, panels[i].down, down_bytes(&linears[i]->down, &width), width, first, end);
  }
  size_t lines = 0;
  for (size_t i = 0; i < list->count; i++) lines += (size_t)(list->strips[i].end - list->strips[i].at) / LINE + 1;
  list->share = chunks > 0 ? lines / chunks + 1 : 0;
}
#endif
