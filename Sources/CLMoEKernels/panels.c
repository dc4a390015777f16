// Lays out the factors of experts as one token takes them.
#include "decode_products.h"
#include "integers.h"
#include "panels.h"

#include <string.h>

/// What makes bytes unsigned.
enum { OFFSET = 128 };

static int is_q8_0(const lmoe_decoder *decoder, const lmoe_matrix *matrix) {
  return decoder->model.uses_integers && matrix->kind == LMOE_Q8_0 && matrix->block == Q8_PANEL &&
         matrix->columns % Q8_PANEL == 0;
}

size_t lmoe_decode_up_bytes(const lmoe_decoder *decoder, const lmoe_matrix *up) {
  if (!up->values) return 0;
  if (up->kind < 0) return (up->columns + PANEL - 1) / PANEL * PANEL * up->rows * float_bytes(up->kind);
  if (!decoder->kernels->integers->up_q8_0 || !is_q8_0(decoder, up)) return 0;
  return up->columns / Q8_PANEL * up_ranks(up->rows) * Q8_BYTES;
}

size_t lmoe_decode_down_bytes(const lmoe_decoder *decoder, const lmoe_matrix *down) {
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

void lmoe_decode_pack_up(const lmoe_matrix *up, void *panels) {
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

void lmoe_decode_pack_down(const lmoe_matrix *down, void *panels) {
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
