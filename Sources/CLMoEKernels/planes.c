// Byte planes: sign rotation with split and merge, field gather and scatter, histogram. Plain loops that the
// compiler vectorises; on x86-64 glibc they are compiled twice and the loader picks (ifunc).
#include "CLMoEKernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) && !__has_feature(thread_sanitizer)
#define KERNEL __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define KERNEL
#endif

static inline uint16_t rotl16(uint16_t v) { return (uint16_t)((v << 1) | (v >> 15)); }
static inline uint16_t rotr16(uint16_t v) { return (uint16_t)((v >> 1) | (v << 15)); }
static inline uint32_t rotl32(uint32_t v) { return (v << 1) | (v >> 31); }
static inline uint32_t rotr32(uint32_t v) { return (v >> 1) | (v << 31); }
static inline uint64_t rotl64(uint64_t v) { return (v << 1) | (v >> 63); }
static inline uint64_t rotr64(uint64_t v) { return (v >> 1) | (v << 63); }

KERNEL static void split2(const uint8_t *restrict e, uint8_t *restrict p0, uint8_t *restrict p1, size_t n, int rotate) {
  if (rotate) {
    for (size_t i = 0; i < n; i++) {
      uint16_t v;
      memcpy(&v, e + 2 * i, 2);
      v = rotl16(v);
      p0[i] = (uint8_t)v;
      p1[i] = (uint8_t)(v >> 8);
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      p0[i] = e[2 * i];
      p1[i] = e[2 * i + 1];
    }
  }
}

KERNEL static void merge2(const uint8_t *restrict p0, const uint8_t *restrict p1, uint8_t *restrict e, size_t n, int rotate) {
  if (rotate) {
    for (size_t i = 0; i < n; i++) {
      uint16_t v = rotr16((uint16_t)(p0[i] | (uint16_t)(p1[i] << 8)));
      memcpy(e + 2 * i, &v, 2);
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      e[2 * i] = p0[i];
      e[2 * i + 1] = p1[i];
    }
  }
}

KERNEL static void split4(const uint8_t *restrict e, uint8_t *restrict p0, uint8_t *restrict p1, uint8_t *restrict p2,
                          uint8_t *restrict p3, size_t n, int rotate) {
  for (size_t i = 0; i < n; i++) {
    uint32_t v;
    memcpy(&v, e + 4 * i, 4);
    if (rotate) v = rotl32(v);
    p0[i] = (uint8_t)v;
    p1[i] = (uint8_t)(v >> 8);
    p2[i] = (uint8_t)(v >> 16);
    p3[i] = (uint8_t)(v >> 24);
  }
}

KERNEL static void merge4(const uint8_t *restrict p0, const uint8_t *restrict p1, const uint8_t *restrict p2,
                          const uint8_t *restrict p3, uint8_t *restrict e, size_t n, int rotate) {
  for (size_t i = 0; i < n; i++) {
    uint32_t v = (uint32_t)p0[i] | ((uint32_t)p1[i] << 8) | ((uint32_t)p2[i] << 16) | ((uint32_t)p3[i] << 24);
    if (rotate) v = rotr32(v);
    memcpy(e + 4 * i, &v, 4);
  }
}

static void split8(const uint8_t *e, uint8_t *planes, size_t n, int rotate) {
  for (size_t i = 0; i < n; i++) {
    uint64_t v;
    memcpy(&v, e + 8 * i, 8);
    if (rotate) v = rotl64(v);
    for (int p = 0; p < 8; p++) planes[(size_t)p * n + i] = (uint8_t)(v >> (8 * p));
  }
}

static void merge8(const uint8_t *const *planes, uint8_t *e, size_t n, int rotate) {
  for (size_t i = 0; i < n; i++) {
    uint64_t v = 0;
    for (int p = 0; p < 8; p++) v |= (uint64_t)planes[p][i] << (8 * p);
    if (rotate) v = rotr64(v);
    memcpy(e + 8 * i, &v, 8);
  }
}

void lmoe_planes_split(const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotate) {
  switch (width) {
    case 1: memcpy(planes, elements, count); break;
    case 2: split2(elements, planes, planes + count, count, rotate); break;
    case 4: split4(elements, planes, planes + count, planes + 2 * count, planes + 3 * count, count, rotate); break;
    case 8: split8(elements, planes, count, rotate); break;
  }
}

void lmoe_planes_merge(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotate) {
  switch (width) {
    case 1: memcpy(elements, planes[0], count); break;
    case 2: merge2(planes[0], planes[1], elements, count, rotate); break;
    case 4: merge4(planes[0], planes[1], planes[2], planes[3], elements, count, rotate); break;
    case 8: merge8(planes, elements, count, rotate); break;
  }
}

void lmoe_field_gather(const uint8_t *field, size_t block, size_t width, size_t count, uint8_t *plane) {
  for (size_t i = 0; i < count; i++) memcpy(plane + i * width, field + i * block, width);
}

void lmoe_field_scatter(const uint8_t *plane, size_t block, size_t width, size_t count, uint8_t *field) {
  for (size_t i = 0; i < count; i++) memcpy(field + i * block, plane + i * width, width);
}

void lmoe_histogram(const uint8_t *bytes, size_t length, uint32_t *counts) {
  // Four tables: equal neighbours would otherwise wait for each other's store.
  uint32_t lanes[4][256] = {{0}};
  size_t i = 0;
  for (; i + 4 <= length; i += 4) {
    lanes[0][bytes[i]]++;
    lanes[1][bytes[i + 1]]++;
    lanes[2][bytes[i + 2]]++;
    lanes[3][bytes[i + 3]]++;
  }
  for (; i < length; i++) lanes[0][bytes[i]]++;
  for (int s = 0; s < 256; s++) counts[s] += lanes[0][s] + lanes[1][s] + lanes[2][s] + lanes[3][s];
}

int lmoe_equal(const void *left, const void *right, size_t length) { return memcmp(left, right, length) == 0; }

KERNEL uint64_t lmoe_sum_words(const void *bytes, size_t length) {
  const uint8_t *p = bytes;
  uint64_t sum[8] = {0};
  for (size_t i = 0; i + 64 <= length; i += 64) {
    uint64_t words[8];
    memcpy(words, p + i, 64);
    for (int lane = 0; lane < 8; lane++) sum[lane] += words[lane];
  }
  uint64_t total = 0;
  for (int lane = 0; lane < 8; lane++) total += sum[lane];
  return total;
}
