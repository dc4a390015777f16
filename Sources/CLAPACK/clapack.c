#include "CLAPACK.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

// Fortran passes everything by reference, and the lengths of texts at the end.
typedef void gemm_fn(const char *, const char *, const int *, const int *, const int *, const double *,
                     const double *, const int *, const double *, const int *, const double *, double *,
                     const int *, size_t, size_t);
typedef void syrk_fn(const char *, const char *, const int *, const int *, const double *, const double *,
                     const int *, const double *, double *, const int *, size_t, size_t);
typedef void trsm_fn(const char *, const char *, const char *, const char *, const int *, const int *,
                     const double *, const double *, const int *, double *, const int *, size_t, size_t, size_t,
                     size_t);
typedef void pstrf_fn(const char *, const int *, double *, const int *, int *, int *, const double *, double *, int *,
                      size_t);
typedef void gesdd_fn(const char *, const int *, const int *, double *, const int *, double *, double *, const int *,
                      double *, const int *, double *, const int *, int *, int *, size_t);
typedef void geqrf_fn(const int *, const int *, double *, const int *, double *, double *, const int *, int *);
typedef void orgqr_fn(const int *, const int *, const int *, double *, const int *, const double *, double *,
                      const int *, int *);

static gemm_fn *gemm;
static syrk_fn *syrk;
static trsm_fn *trsm;
static pstrf_fn *pstrf;
static gesdd_fn *gesdd;
static geqrf_fn *geqrf;
static orgqr_fn *orgqr;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int is_missing = 1;
// OpenBLAS without threads is not safe to call from several at once: they would share its buffers.
static int is_alone = 0;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void enter(void) {
  if (is_alone) pthread_mutex_lock(&turn);
}
static void leave(void) {
  if (is_alone) pthread_mutex_unlock(&turn);
}

static void load(void) {
#if defined(__APPLE__)
  static const char *const names[] = {"/System/Library/Frameworks/Accelerate.framework/Accelerate"};
#else
  static const char *const names[] = {"libopenblas.so.0", "liblapack.so.3", "libopenblas.so", "liblapack.so"};
#endif
  // The pool owns all threads. A variant of OpenBLAS with threads starts them while it is loaded.
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) continue;
    gemm = (gemm_fn *)dlsym(library, "dgemm_");
    syrk = (syrk_fn *)dlsym(library, "dsyrk_");
    trsm = (trsm_fn *)dlsym(library, "dtrsm_");
    pstrf = (pstrf_fn *)dlsym(library, "dpstrf_");
    gesdd = (gesdd_fn *)dlsym(library, "dgesdd_");
    geqrf = (geqrf_fn *)dlsym(library, "dgeqrf_");
    orgqr = (orgqr_fn *)dlsym(library, "dorgqr_");
    if (gemm && syrk && trsm && pstrf && gesdd && geqrf && orgqr) {
      void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
      if (set_threads) set_threads(1);
      int (*parallel)(void) = (int (*)(void))dlsym(library, "openblas_get_parallel");
      is_alone = parallel && parallel() == 0;
      is_missing = 0;
      return;
    }
    dlclose(library);
  }
}

int clapack_load(void) {
  pthread_once(&once, load);
  return is_missing;
}

void clapack_gemm(int transposes_a, int transposes_b, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc) {
  enter();
  gemm(transposes_a ? "T" : "N", transposes_b ? "T" : "N", &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc, 1,
       1);
  leave();
}

void clapack_gram(int n, int k, const double *a, int lda, double *c, int ldc) {
  const double one = 1, zero = 0;
  enter();
  syrk("U", "T", &n, &k, &one, a, &lda, &zero, c, &ldc, 1, 1);
  leave();
}

void clapack_solve_upper(int n, int columns, const double *r, int ldr, double *b, int ldb) {
  const double one = 1;
  enter();
  trsm("L", "U", "N", "N", &n, &columns, &one, r, &ldr, b, &ldb, 1, 1, 1, 1);
  leave();
}

int clapack_pivoted_cholesky(int n, double *a, int lda, int *pivots, double tolerance) {
  double *work = malloc(sizeof(double) * 2 * (size_t)n);
  if (!work) return -1;
  int rank = 0, info = 0;
  enter();
  pstrf("U", &n, a, &lda, pivots, &rank, &tolerance, work, &info, 1);
  leave();
  free(work);
  return info < 0 ? -1 : rank;
}

int clapack_svd(int m, int n, double *a, int lda, double *values, double *u, int ldu, double *vt, int ldvt) {
  const int least = m < n ? m : n;
  if (least == 0) return 0;
  int *integers = malloc(sizeof(int) * 8 * (size_t)least);
  double best = 0;
  int size = -1, info = 0;
  enter();
  gesdd("S", &m, &n, a, &lda, values, u, &ldu, vt, &ldvt, &best, &size, integers, &info, 1);
  size = (int)best;
  double *work = malloc(sizeof(double) * (size_t)size);
  if (integers && work) {
    gesdd("S", &m, &n, a, &lda, values, u, &ldu, vt, &ldvt, work, &size, integers, &info, 1);
  } else {
    info = -1;
  }
  leave();
  free(integers);
  free(work);
  return info;
}

int clapack_orthonormalise(int m, int n, double *a, int lda) {
  if (n == 0) return 0;
  double best = 0, other = 0;
  int size = -1, info = 0;
  double *tau = malloc(sizeof(double) * (size_t)n);
  enter();
  geqrf(&m, &n, a, &lda, tau, &best, &size, &info);
  orgqr(&m, &n, &n, a, &lda, tau, &other, &size, &info);
  size = (int)(best > other ? best : other);
  double *work = malloc(sizeof(double) * (size_t)size);
  if (tau && work) {
    geqrf(&m, &n, a, &lda, tau, work, &size, &info);
    if (info == 0) orgqr(&m, &n, &n, a, &lda, tau, work, &size, &info);
  } else {
    info = -1;
  }
  leave();
  free(tau);
  free(work);
  return info;
}
