// Sums of products with weights as they are stored, and the choice of the kernels that do them.
#include "kernel_variants.h"

#include <stdatomic.h>
#include <string.h>

static const lmoe_kernels *const variants[] = {
#if defined(__x86_64__)
    &lmoe_kernels_avx512vnni, &lmoe_kernels_avx512, &lmoe_kernels_avx2,
#endif
    &lmoe_kernels_portable};
enum { variant_count = sizeof variants / sizeof *variants };

static int can_run(const lmoe_kernels *kernels) {
#if defined(__x86_64__)
  int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  if (kernels == &lmoe_kernels_avx2) return has_avx2;
  int has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (kernels == &lmoe_kernels_avx512) return has_avx512;
  if (kernels == &lmoe_kernels_avx512vnni) return has_avx512 && __builtin_cpu_supports("avx512vnni");
#endif
  return kernels == &lmoe_kernels_portable;
}

static const lmoe_kernels *_Atomic best;
static _Thread_local const lmoe_kernels *selected;

const lmoe_kernels *lmoe_kernels_now(void) {
  if (selected) return selected;
  const lmoe_kernels *kernels = atomic_load_explicit(&best, memory_order_relaxed);
  if (kernels) return kernels;
  for (int i = 0; i < variant_count && !kernels; i++)
    if (can_run(variants[i])) kernels = variants[i];
  atomic_store_explicit(&best, kernels, memory_order_relaxed);
  return kernels;
}

const char *lmoe_kernel_variant(void) { return lmoe_kernels_now()->name; }

int lmoe_select_kernels(const char *name) {
  if (!name) {
    selected = 0;
    return 1;
  }
  for (int i = 0; i < variant_count; i++) {
    if (strcmp(name, variants[i]->name) != 0 || !can_run(variants[i])) continue;
    selected = variants[i];
    return 1;
  }
  return 0;
}

double lmoe_multiply_adds(size_t rounds, float *values) { return lmoe_kernels_now()->multiply_adds(rounds, values); }

size_t lmoe_gemm_scratch(size_t depth) {
  (void)depth;
  return SCRATCH + DECODED;
}

void lmoe_gemm(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
               ptrdiff_t y_stride, int accumulates, float *scratch) {
  lmoe_kernels_now()->gemm(m, terms, term_count, first, end, y, y_stride, accumulates, scratch);
}
