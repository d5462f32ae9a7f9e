// SwooshR of each of many numbers.

#include <cstdint>

#include "kernels.h"
#include "vector.h"

extern "C" {

void echostream_swoosh_r(const float* x, int64_t count, float* y) {
  using namespace echostream;
  for (int64_t i = 0; i < count; i += LANES)
    store_some(y + i, swoosh(load_some(x + i, count - i), 1.0f, SWOOSH_R_OFFSET), count - i);
}
}
