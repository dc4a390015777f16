// The kernels of one instruction set. Each set has a translation unit that includes the same bodies.
#ifndef LMOE_KERNEL_VARIANTS_H
#define LMOE_KERNEL_VARIANTS_H
#include "CLMoEKernels.h"

/// Floats of scratch, that all sets divide among their panels.
enum { SCRATCH = 65536 };

typedef struct {
  const char *name;
  void (*gemm)(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch);
} lmoe_kernels;

extern const lmoe_kernels lmoe_kernels_portable, lmoe_kernels_avx2, lmoe_kernels_avx512;

/// The kernels that this thread uses.
const lmoe_kernels *lmoe_kernels_now(void);
#endif
