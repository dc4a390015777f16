// Declarations of the two compilations of checksum_body.h.
#ifndef LMOE_CHECKSUM_VARIANTS_H
#define LMOE_CHECKSUM_VARIANTS_H
#include "CLMoEKernels.h"

#define DECLARE(prefix)                                                              \
  uint64_t prefix##64(const void *bytes, size_t length);                             \
  lmoe_hash128 prefix##128(const void *bytes, size_t length);                        \
  void prefix##reset(void *state);                                                   \
  void prefix##update(void *state, const void *bytes, size_t length);                \
  lmoe_hash128 prefix##digest(const void *state);                                    \
  uint64_t prefix##digest64(const void *state);                                      \
  size_t prefix##state_size(void);
DECLARE(lmoe_base_)
DECLARE(lmoe_avx2_)
#undef DECLARE
#endif
