// Lays out the factors of experts as one token takes them.
#include "panels.h"

#include "decode_products.h"

#include <string.h>

/// What makes bytes unsigned.
enum { OFFSET = 128 };

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

static void pack_up_floats(const lmoe_linear *linear, size_t first, size_t end, char *to) {
  const size_t width = float_bytes(linear->slots[0].up.kind);
  for (; first < end; first += PANEL) {
    const size_t count = end - first < PANEL ? end - first : PANEL;
    for (size_t s = 0; s < linear->slot_count; s++) {
      const lmoe_slot *slot = &linear->slots[s];
      const char *from = slot->up.values;
      if (!slot->up_is_transposed && width == sizeof(float)) {
        lmoe_transpose_32(from + first * slot->count * width, count, slot->count, to);
      } else if (!slot->up_is_transposed) {
        lmoe_transpose_16(from + first * slot->count * width, count, slot->count, to);
      } else {
        for (size_t rank = 0; rank < slot->count; rank++)
          memcpy(to + rank * count * width, from + (rank * slot->up.columns + first) * width, count * width);
      }
      to += slot->count * count * width;
    }
  }
}

void lmoe_pack_up(const lmoe_linear *linear, size_t first, size_t end, void *panels) {
  if (linear->slots[0].up.kind < 0) {
    pack_up_floats(linear, first, end, panels);
    return;
  }
  const size_t padded = up_ranks(linear->ranks);
  uint8_t *to = panels;
  for (size_t panel = first / Q8_PANEL; panel * Q8_PANEL < end; panel++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (const lmoe_slot *slot = linear->slots; slot < linear->slots + linear->slot_count; slot++) {
      for (size_t own = 0; own < slot->count; own++) {
        const size_t rank = slot->first + own;
        const uint8_t *block = block_at(&slot->up, own, panel);
        memcpy(to + 2 * rank, block, 2);
        uint8_t *quad = bytes + rank / QUAD * QUAD * Q8_PANEL + rank % QUAD;
        for (size_t j = 0; j < Q8_PANEL; j++) quad[QUAD * j] = block[2 + j] ^ OFFSET;
      }
    }
  }
}

// Eight ranks at a time: a line of `to` is filled from eight streams.
#define TRANSPOSE(TYPE)                                                                                               \
  const TYPE *from = slot->down.values;                                                                               \
  TYPE *to = (TYPE *)runs + slot->first;                                                                              \
  for (size_t rank = 0; rank < slot->count; rank += 8) {                                                              \
    const size_t last = slot->count - rank < 8 ? slot->count : rank + 8;                                              \
    for (size_t i = first; i < end; i++) {                                                                            \
      for (size_t r = rank; r < last; r++) to[(i - first) * ranks + r] = from[r * slot->down.columns + i];            \
    }                                                                                                                 \
  }

static void pack_down_floats(const lmoe_slot *slot, size_t ranks, size_t first, size_t end, void *runs) {
  if (slot->down.kind == LMOE_F32) {
    TRANSPOSE(uint32_t)
  } else {
    TRANSPOSE(uint16_t)
  }
}

void lmoe_pack_down(const lmoe_linear *linear, size_t first, size_t end, void *runs) {
  const lmoe_slot *slots = linear->slots, *end_slot = slots + linear->slot_count;
  if (slots->down.kind < 0) {
    for (const lmoe_slot *slot = slots; slot < end_slot; slot++)
      pack_down_floats(slot, linear->ranks, first, end, runs);
    return;
  }
  const size_t padded = down_ranks(linear->ranks);
  uint8_t *to = runs;
  for (size_t run = first / Q8_PANEL; run * Q8_PANEL < end; run++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (const lmoe_slot *slot = slots; slot < end_slot; slot++) {
      for (size_t own = 0; own < slot->count; own++) {
        const size_t rank = slot->first + own;
        const uint8_t *block = block_at(&slot->down, own, run);
        memcpy(to + 2 * rank, block, 2);
        for (size_t quad = 0; quad < Q8_PANEL / QUAD; quad++) {
          uint8_t *place = bytes + rank / RANKS * RANKS * Q8_PANEL + (quad * RANKS + rank % RANKS) * QUAD;
          for (size_t k = 0; k < QUAD; k++) place[k] = block[2 + quad * QUAD + k] ^ OFFSET;
        }
      }
    }
  }
}
