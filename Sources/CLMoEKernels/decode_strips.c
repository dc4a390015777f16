// Which factors are laid out, and where the strip of each task is.
#define _GNU_SOURCE
#include "decode_strips.h"

#include "integers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// MARK: What can be laid out

static int is_q8_0(const lmoe_decoder *decoder, const lmoe_matrix *matrix) {
  return decoder->model.uses_integers && matrix->kind == LMOE_Q8_0 && matrix->block == Q8_PANEL &&
         matrix->columns % Q8_PANEL == 0;
}

static int can_lay_out(const lmoe_decoder *decoder, const lmoe_matrix *factors, int has_kernel) {
  return factors->kind < 0 || (has_kernel && is_q8_0(decoder, factors));
}

/// The same of all experts of a linear layer, whose factors are of one kind then.
static int can_lay_out_all(const lmoe_decoder *decoder, const lmoe_linear *linear, int is_up, int has_kernel) {
  for (size_t s = 0; s < linear->slot_count; s++) {
    const lmoe_matrix *own = is_up ? &linear->slots[s].up : &linear->slots[s].down;
    const lmoe_matrix *first = is_up ? &linear->slots[0].up : &linear->slots[0].down;
    if (own->kind != first->kind || !can_lay_out(decoder, own, has_kernel)) return 0;
  }
  return linear->slot_count > 0;
}

/// Whether all experts of a linear layer have a say for every token, as far as can be known before.
static int is_dense(const lmoe_model *model, group_kind group, size_t layer, size_t linear) {
  const lmoe_linear *linears[MOST_LINEARS];
  lmoe_decode_linears(model, group, layer, linears);
  const lmoe_gate *gate = linears[linear]->gate;
  if (!gate && group != GROUP_HEAD) gate = model->layers[layer].experts_gate;
  return !gate || gate->normaliser == LMOE_WEIGHTS_PLAIN || gate->normaliser == LMOE_WEIGHTS_SOFTMAX;
}

/// Says of each linear layer what is laid out: nothing, or what can be.
static void choose(lmoe_decoder *decoder, int lays_out) {
  // Parts of U of many ranks would take longer to add up than another stage does.
  enum { MOST_EARLY_RANKS = 256 };
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  for (size_t number = 0; number <= GROUP_HEAD * model->layer_count; number++) {
    const size_t layer = number / GROUP_HEAD;
    const group_kind group = layer == model->layer_count ? GROUP_HEAD : (group_kind)(number % GROUP_HEAD);
    const size_t count = lmoe_decode_linears(model, group, layer, linears);
    for (size_t i = 0; i < count; i++) {
      // Experts that are chosen token by token are read from where they are.
      const int can = lays_out && is_dense(model, group, layer, i);
      linear_plan *own = lmoe_decode_linear_plans(decoder, group, layer) + i;
      own->up = can && can_lay_out_all(decoder, linears[i], 1, decoder->kernels->integers->up_q8_0 != NULL);
      own->down = can && linears[i]->ranks <= MOST_EARLY_RANKS &&
                  can_lay_out_all(decoder, linears[i], 0, decoder->kernels->integers->down_q8_0 != NULL);
    }
  }
}

// MARK: Strips

/// Of a strip: B of some outputs, or A of some inputs.
typedef struct {
  const lmoe_linear *linear;
  int is_up;
  size_t first, end;
} piece;

enum { MOST_PIECES = 2 * MOST_LINEARS };

/// The pieces of a task's strip, in the order in which it takes them.
static size_t pieces_of(const lmoe_decoder *decoder, const stage *stage, size_t task, piece pieces[MOST_PIECES]) {
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  size_t first, end, low, high, made = 0;
  if (stage->kind != STAGE_LINEARS && !stage->makes_u) return 0;
  lmoe_decode_outputs(model, stage, task, &first, &end);
  if (first >= end) return 0;
  if (stage->kind == STAGE_LINEARS) {
    const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
    const linear_plan *own = lmoe_decode_linear_plans(decoder, stage->group, stage->layer);
    for (size_t i = 0; i < count; i++)
      if (own[i].up && lmoe_decode_own_outputs(model, stage, i, first, end, &low, &high))
        pieces[made++] = (piece){linears[i], 1, low, high};
  }
  if (!stage->makes_u) return made;
  size_t layer;
  const group_kind group = lmoe_decode_next_group(model, stage, &layer);
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  for (size_t i = 0; i < count; i++)
    if (linears[i]->slot_count > 0) pieces[made++] = (piece){linears[i], 0, first, end};
  return made;
}

static size_t bytes_of_piece(const piece *piece) {
  return piece->is_up ? up_bytes(piece->linear, piece->first, piece->end)
                      : down_bytes(piece->linear, piece->first, piece->end);
}

static size_t strip_bytes(const lmoe_decoder *decoder, const stage *stage, size_t task) {
  piece pieces[MOST_PIECES];
  const size_t count = pieces_of(decoder, stage, task, pieces);
  size_t total = 0;
  for (size_t i = 0; i < count; i++) total += bytes_of_piece(&pieces[i]);
  return total;
}

/// Gives each task its strip in `memory`, or with null only counts: the bytes of all, and in `*ends` their ends.
static size_t lay_out(lmoe_decoder *decoder, char *memory, size_t *ends) {
  size_t total = 0;
  *ends = 0;
  for (size_t s = 0; s < decoder->stage_count; s++) {
    stage *own = &decoder->stages[s];
    size_t bytes = 0;
    for (size_t task = 0; task < own->tasks; task++) bytes += strip_bytes(decoder, own, task);
    if (bytes == 0) continue;
    if (memory) {
      own->strips = decoder->strips + *ends;
      own->strips[0] = memory + total;
      for (size_t task = 0; task < own->tasks; task++)
        own->strips[task + 1] = own->strips[task] + strip_bytes(decoder, own, task);
    }
    *ends += own->tasks + 1;
    total += (bytes + LINE - 1) / LINE * LINE;
  }
  return total;
}

void lmoe_decode_plan(lmoe_decoder *decoder) {
  enum { HUGE_PAGE = 2 << 20 };
  choose(decoder, 1);
  size_t ends;
  lmoe_decode_add_stages(decoder);
  const size_t total = lay_out(decoder, NULL, &ends);
  if (total == 0) return;
  decoder->strips = malloc(ends * sizeof *decoder->strips);
  decoder->strip_memory = aligned_alloc(HUGE_PAGE, (total + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
  if (decoder->strips && decoder->strip_memory) {
#if defined(MADV_HUGEPAGE)
    madvise(decoder->strip_memory, total, MADV_HUGEPAGE);
#endif
    lay_out(decoder, decoder->strip_memory, &ends);
    return;
  }
  // There is no memory for it.
  choose(decoder, 0);
  lmoe_decode_add_stages(decoder);
}

// MARK: Packing

size_t lmoe_decoder_packs(const lmoe_decoder *decoder) { return decoder->strip_memory ? decoder->stage_count : 0; }

void lmoe_decoder_pack(lmoe_decoder *decoder, size_t number) {
  const stage *own = &decoder->stages[number];
  for (size_t task = 0; own->strips && task < own->tasks; task++) {
    piece pieces[MOST_PIECES];
    const size_t count = pieces_of(decoder, own, task, pieces);
    char *to = (char *)own->strips[task];
    for (size_t i = 0; i < count; to += bytes_of_piece(&pieces[i++])) {
      if (pieces[i].is_up)
        lmoe_pack_up(pieces[i].linear, pieces[i].first, pieces[i].end, to);
      else
        lmoe_pack_down(pieces[i].linear, pieces[i].first, pieces[i].end, to);
    }
  }
}
