// U = A x of the group that follows, made by the tasks that compute its input: each multiplies its columns.
#include "decode_strips.h"
#include "integers.h"

#include <string.h>

/// Inputs [first, end) of a group as they are, or times the weights of its norm.
static const float *slice_of(const lmoe_decoder *d, worker *self, group_kind group, size_t layer, size_t first,
                             size_t end) {
  const lmoe_model *model = &d->model;
  if (group == GROUP_DOWN) return d->gated + first;
  if (group == GROUP_OUTPUT) return d->mixed + first;
  const lmoe_norm *norm = group == GROUP_HEAD           ? &model->norm
                          : group == GROUP_FEED_FORWARD ? &model->layers[layer].post_norm
                                                        : &model->layers[layer].input_norm;
  self->kernels->weigh(model->residual + first, end - first, norm->weight, first, norm->kind, self->slice);
  return self->slice;
}

/// A slice as integers, in whole runs: with zeros where those begin before it or end behind it.
static void make_integers(worker *self, const float *x, size_t first, size_t end) {
  const size_t before = first % Q8_PANEL, count = before + end - first;
  if (before > 0) {
    // What is left of the last run is taken for zeros.
    memmove(self->slice + before, x, (end - first) * sizeof *x);
    memset(self->slice, 0, before * sizeof *x);
    x = self->slice;
  }
  lmoe_integer_rows(x, 0, 1, count, self->slice_integers);
}

void lmoe_decode_make_u(const lmoe_decoder *d, const stage *stage, worker *self, size_t part, size_t first,
                        size_t end) {
  size_t layer;
  const group_kind group = lmoe_decode_next_group(&d->model, stage, &layer);
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(&d->model, group, layer, linears);
  const float *x = slice_of(d, self, group, layer, first, end);
  float *u = u_parts_of(d, group) + part * MOST_LINEARS * d->ranks;
  int has_integers = 0;
  for (size_t i = 0; i < count; i++, u += d->ranks) {
    if (linears[i]->slot_count == 0) continue;
    const size_t ranks = linears[i]->ranks;
    const int kind = linears[i]->slots[0].down.kind;
    if (kind < 0) {
      const lmoe_matrix run = {self->strip, kind, 0, 0, end - first, ranks};
      lmoe_term term = term_of(&run, 0, x, 0);
      term.depth = end - first;
      self->kernels->gemm(1, &term, 1, 0, ranks, u, 0, 0, self->scratch);
    } else {
      if (!has_integers) make_integers(self, x, first, end);
      has_integers = 1;
      self->kernels->integers->down_q8_0(self->slice_integers, blocks_around(first, end) * Q8_PANEL, self->strip,
                                         ranks, u);
    }
    self->strip += down_bytes(linears[i], first, end);
  }
}
