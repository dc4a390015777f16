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

static void pack_up_floats(const lmoe_matrix *up, size_t first, size_t end, char *to) {
  const size_t width = float_bytes(up->kind);
  for (; first < end; first += PANEL) {
    const size_t bytes = (end - first < PANEL ? end - first : PANEL) * width;
    for (size_t rank = 0; rank < up->rows; rank++, to += bytes)
      memcpy(to, (const char *)up->values + (rank * up->columns + first) * width, bytes);
  }
}

void lmoe_pack_up(const lmoe_matrix *up, size_t first, size_t end, void *panels) {
  if (up->kind < 0) {
    pack_up_floats(up, first, end, panels);
    return;
  }
  const size_t padded = up_ranks(up->rows);
  uint8_t *to = panels;
  for (size_t panel = first / Q8_PANEL; panel * Q8_PANEL < end; panel++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (size_t rank = 0; rank < up->rows; rank++) {
      const uint8_t *block = block_at(up, rank, panel);
      memcpy(to + 2 * rank, block, 2);
      uint8_t *quad = bytes + rank / QUAD * QUAD * Q8_PANEL + rank % QUAD;
      for (size_t j = 0; j < Q8_PANEL; j++) quad[QUAD * j] = block[2 + j] ^ OFFSET;
    }
  }
}

// Eight ranks at a time: a line of `to` is filled from eight streams.
#define TRANSPOSE(TYPE)                                                                    \
  const TYPE *from = down->values;                                                         \
  TYPE *to = runs;                                                                         \
  for (size_t rank = 0; rank < ranks; rank += 8) {                                         \
    const size_t last = ranks - rank < 8 ? ranks : rank + 8;                               \
    for (size_t i = first; i < end; i++) {                                                 \
      for (size_t r = rank; r < last; r++) to[(i - first) * ranks + r] = from[r * down->columns + i]; \
    }                                                                                      \
  }

void lmoe_pack_down(const lmoe_matrix *down, size_t first, size_t end, void *runs) {
  const size_t ranks = down->rows;
  if (down->kind == LMOE_F32) {
    TRANSPOSE(uint32_t)
    return;
  }
  if (down->kind < 0) {
    TRANSPOSE(uint16_t)
    return;
  }
  const size_t padded = down_ranks(ranks);
  uint8_t *to = runs;
  for (size_t run = first / Q8_PANEL; run * Q8_PANEL < end; run++, to += padded * Q8_BYTES) {
    uint8_t *bytes = clear_q8_0(to, padded);
    for (size_t rank = 0; rank < ranks; rank++) {
      const uint8_t *block = block_at(down, rank, run);
      memcpy(to + 2 * rank, block, 2);
      for (size_t quad = 0; quad < Q8_PANEL / QUAD; quad++) {
        uint8_t *own = bytes + rank / RANKS * RANKS * Q8_PANEL + (quad * RANKS + rank % RANKS) * QUAD;
        for (size_t k = 0; k < QUAD; k++) own[k] = block[2 + quad * QUAD + k] ^ OFFSET;
      }
    }
  }
}
