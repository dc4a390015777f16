// The few BLAS and LAPACK routines that the algebra of experts needs, from whichever library the system has.
// It is loaded at first use: a start of the tool that needs none of it pays nothing. Matrices are in double
// precision, column by column, as Fortran has them.
#ifndef CLAPACK_H
#define CLAPACK_H

#include <stddef.h>

/// Loads the library, once. 0, or 1 if none was found; may be called from any thread, any number of times.
int clapack_load(void);

// What follows needs clapack_load() to have returned 0.

/// C (m x n) = alpha op(A) op(B) + beta C, op the transpose where asked; `k` is the length of the sums.
void clapack_gemm(int transposes_a, int transposes_b, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc);
/// The upper triangle of C (n x n) = transpose(A) A, A of shape k x n.
void clapack_gram(int n, int k, const double *a, int lda, double *c, int ldc);
/// Solves R X = B in place for the upper triangular R (n x n), B of shape n x columns.
void clapack_solve_upper(int n, int columns, const double *r, int ldr, double *b, int ldb);
/// The pivoted Cholesky factor of a positive semidefinite matrix (its upper triangle): the upper triangular R with
/// transpose(R) R = transpose(P) A P, as far as its diagonal exceeds `tolerance`. Writes the pivots, counted from 1.
/// Returns the rank, or -1.
int clapack_pivoted_cholesky(int n, double *a, int lda, int *pivots, double tolerance);
/// The singular value decomposition of A (m x n), which is overwritten: U (m x min), the values, and transpose(V)
/// (min x n). 0, or LAPACK's complaint.
int clapack_svd(int m, int n, double *a, int lda, double *values, double *u, int ldu, double *vt, int ldvt);
/// Replaces A (m x n, n <= m) by an orthonormal basis of its columns (Householder). 0, or LAPACK's complaint.
int clapack_orthonormalise(int m, int n, double *a, int lda);

#endif
