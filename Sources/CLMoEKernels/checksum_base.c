// XXH3 for the baseline instruction set (SSE2 on x86-64, NEON on arm64).
#define NAME(x) lmoe_base_##x
#include "checksum_body.h"
