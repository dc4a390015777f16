// Lays out the factors of experts as one token takes them.
#define _GNU_SOURCE
#include "decode_products.h"
#include "integers.h"
#include "panels.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// MARK: Of one matrix

/// What makes bytes unsigned.
enum { OFFSET = 128 };

static int is_q8_0(const lmoe_decoder *decoder, const lmoe_matrix *matrix) {
  return decoder->model.uses_integers && matrix->kind == LMOE_Q8_0 && matrix->block == Q8_PANEL &&
         matrix->columns % Q8_PANEL == 0;
}

/// The bytes of the panels of a matrix of factors, and 0 if it can have none.
static size_t packed_up_bytes(const lmoe_decoder *decoder, const lmoe_matrix *up) {
  if (!up->values) return 0;
  if (up->kind < 0) return (up->columns + PANEL - 1) / PANEL * PANEL * up->rows * float_bytes(up->kind);
  if (!decoder->kernels->integers->up_q8_0 || !is_q8_0(decoder, up)) return 0;
  return up->columns / Q8_PANEL * up_ranks(up->rows) * Q8_BYTES;
}

static size_t packed_down_bytes(const lmoe_decoder *decoder, const lmoe_matrix *down) {
  if (!down->values) return 0;
  if (down->kind < 0) return down->columns * down->rows * float_bytes(down->kind);
  if (!decoder->kernels->integers->down_q8_0 || !is_q8_0(decoder, down)) return 0;
  return down->columns / Q8_PANEL * down_ranks(down->rows) * Q8_BYTES;
}

/// Empties a panel or run of Q8_0 and says where its bytes begin: what is behind the last rank is 0.
static uint8_t *clear_q8_0(uint8_t *scales, size_t ranks) {
  uint8_t *bytes = scales + 2 * ranks;
  memset(scales, 0, 2 * ranks);
  memset(bytes, OFFSET, ranks * Q8_PANEL);
  return bytes;
}

/// The block of Q8_0 at that place of a matrix of factors: its scale, then its bytes.
static const uint8_t *block_at(const lmoe_matrix *factors, size_t rank, size_t place) {
  return (const uint8_t *)factors->values + (rank * (factors->columns / Q8_PANEL) + place) * Q8_BYTES;
}

static void pack_up(const lmoe_matrix *up, void *panels) {
  const size_t ranks = up->rows, columns = up->columns;
  if (up->kind < 0) {
    const size_t width = float_bytes(up->kind);
    char *to = panels;
    for (size_t first = 0; first < columns; first += PANEL) {
      const size_t count = columns - first < PANEL ? columns - first : PANEL;
      for (size_t rank = 0; rank < ranks; rank++, to += PANEL * width) {
        memcpy(to, (const char *)up->values + (rank * columns + first) * width, count * width);
        memset(to + count * width, 0, (PANEL - count) * width);
      }
    }
    return;
  }
  const size_t padded = up_ranks(ranks), blocks = columns / Q8_PANEL;
  uint8_t *to = panels;
  for (size_t panel = 0; panel < blocks; panel++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (size_t rank = 0; rank < ranks; rank++) {
      const uint8_t *block = block_at(up, rank, panel);
      memcpy(to + 2 * rank, block, 2);
      uint8_t *quad = bytes + rank / QUAD * QUAD * Q8_PANEL + rank % QUAD;
      for (size_t j = 0; j < Q8_PANEL; j++) quad[QUAD * j] = block[2 + j] ^ OFFSET;
    }
  }
}

static void pack_down(const lmoe_matrix *down, void *panels) {
  const size_t ranks = down->rows, columns = down->columns;
  if (down->kind == LMOE_F32) {
    lmoe_transpose_32(down->values, ranks, columns, panels);
    return;
  }
  if (down->kind < 0) {
    lmoe_transpose_16(down->values, ranks, columns, panels);
    return;
  }
  const size_t padded = down_ranks(ranks), blocks = columns / Q8_PANEL;
  uint8_t *to = panels;
  for (size_t run = 0; run < blocks; run++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (size_t rank = 0; rank < ranks; rank++) {
      const uint8_t *block = block_at(down, rank, run);
      memcpy(to + 2 * rank, block, 2);
      for (size_t quad = 0; quad < Q8_PANEL / QUAD; quad++) {
        uint8_t *own = bytes + (quad * padded + rank) * QUAD;
        for (size_t k = 0; k < QUAD; k++) own[k] = block[2 + quad * QUAD + k] ^ OFFSET;
      }
    }
  }
}

// MARK: Of a model

factor_panels *lmoe_decode_panels(const lmoe_decoder *decoder, group_kind group, size_t layer) {
  static const size_t places[] = {0, 3, 4, 6, 0};
  return &decoder->panels[LINEARS * layer + places[group]];
}

/// The group of a number that counts all groups.
static group_kind group_of(const lmoe_decoder *decoder, size_t number, size_t *layer) {
  *layer = number / GROUP_HEAD;
  return *layer == decoder->model.layer_count ? GROUP_HEAD : (group_kind)(number % GROUP_HEAD);
}

/// Whether all experts of a linear layer have a say for every token, as far as can be known before.
static int is_dense(const lmoe_model *model, group_kind group, size_t layer, size_t linear) {
  const lmoe_linear *linears[MOST_LINEARS];
  lmoe_decode_linears(model, group, layer, linears);
  const lmoe_gate *gate = linears[linear]->gate;
  if (!gate && group != GROUP_HEAD) gate = model->layers[layer].experts_gate;
  return !gate || gate->normaliser == LMOE_WEIGHTS_PLAIN || gate->normaliser == LMOE_WEIGHTS_SOFTMAX;
}

void lmoe_decode_reserve_panels(lmoe_decoder *decoder) {
  // Parts of U of many ranks would take longer to add up than another stage does.
  enum { LITTLE = 64 << 20, MOST_EARLY_RANKS = 256, HUGE_PAGE = 2 << 20 };
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  for (char *memory = NULL;; memory = decoder->panel_memory) {
    size_t total = 0, base = 0;
    for (size_t number = 0; number <= GROUP_HEAD * model->layer_count; number++) {
      size_t layer;
      const group_kind group = group_of(decoder, number, &layer);
      const size_t count = lmoe_decode_linears(model, group, layer, linears);
      for (size_t i = 0; i < count; i++) {
        base += all_bytes(&linears[i]->weight);
        factor_panels *panels = lmoe_decode_panels(decoder, group, layer) + i;
        const size_t up = packed_up_bytes(decoder, &linears[i]->up);
        const size_t down = packed_down_bytes(decoder, &linears[i]->down);
        // Of experts that are chosen token by token, a rank at a time is read from where it is.
        if (!is_dense(model, group, layer, i)) continue;
        if (up > 0) panels->up = lmoe_decode_take(&memory, &total, up);
        if (down > 0 && linears[i]->down.rows <= MOST_EARLY_RANKS)
          panels->down = lmoe_decode_take(&memory, &total, down);
      }
    }
    if (memory || total == 0 || (total > LITTLE && total > base / 4)) return;
    decoder->panel_memory = aligned_alloc(HUGE_PAGE, (total + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (!decoder->panel_memory) return;
#if defined(MADV_HUGEPAGE)
    madvise(decoder->panel_memory, total, MADV_HUGEPAGE);
#endif
  }
}

size_t lmoe_decoder_packs(const lmoe_decoder *decoder) {
  return decoder->panel_memory ? GROUP_HEAD * decoder->model.layer_count + 1 : 0;
}

void lmoe_decoder_pack(lmoe_decoder *decoder, size_t number) {
  const lmoe_linear *linears[MOST_LINEARS];
  size_t layer;
  const group_kind group = group_of(decoder, number, &layer);
  const size_t count = lmoe_decode_linears(&decoder->model, group, layer, linears);
  for (size_t i = 0; i < count; i++) {
    const factor_panels *panels = lmoe_decode_panels(decoder, group, layer) + i;
    if (panels->up) pack_up(&linears[i]->up, panels->up);
    if (panels->down) pack_down(&linears[i]->down, panels->down);
  }
}
