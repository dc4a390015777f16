// Wraps what Swift cannot import from zstd: experimental parameters behind a macro.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

/// Turns literal compression on always (Huffman), whatever the level; 0 on success, else a zstd error code.
static inline size_t lmoe_zstd_force_huffman_literals(ZSTD_CCtx *context) {
  return ZSTD_CCtx_setParameter(context, ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
}

/// Facts of the frame header at `source` that a container must check before it believes a frame.
typedef struct {
  int valid;                 // 1: an ordinary zstd frame whose header is complete
  int has_content_size;
  unsigned long long content_size;
  unsigned long long window_size;
  unsigned dictionary_id;
} lmoe_zstd_frame_facts;

static inline lmoe_zstd_frame_facts lmoe_zstd_frame_header(const void *source, size_t length) {
  lmoe_zstd_frame_facts facts = {0, 0, 0, 0, 0};
  ZSTD_frameHeader header;
  if (ZSTD_getFrameHeader(&header, source, length) != 0) return facts;
  if (header.frameType != ZSTD_frame) return facts;
  facts.valid = 1;
  facts.has_content_size = header.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN;
  facts.content_size = header.frameContentSize;
  facts.window_size = header.windowSize;
  facts.dictionary_id = header.dictID;
  return facts;
}
