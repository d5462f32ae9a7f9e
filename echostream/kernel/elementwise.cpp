// What is computed of each number by itself.

#include <cstdint>

#include "kernels.h"
#include "vector.h"

extern "C" {

// SwooshR.
void echostream_swoosh_r(const float* x, int64_t count, float* y) {
  using namespace echostream;
  for (int64_t i = 0; i < count; i += LANES)
    store_some(y + i, swoosh(load_some(x + i, count - i), 1.0f, SWOOSH_R_OFFSET), count - i);
}

// projected: [rows, 2 C], values and gates. valid: [rows]. y: [rows, C].
void echostream_gated_sigmoid(const float* projected, const float* valid, int64_t rows, int64_t C,
                              float* y) {
  using namespace echostream;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t c = 0; c < C; c += LANES) {
      const float* x = projected + row * 2 * C + c;
      const Vector value = load_some(x, C - c), gate = sigmoid(load_some(x + C, C - c));
      store_some(y + row * C + c, value * gate * valid[row], C - c);
    }
}

// projected: [rows, 3 C], gates, values, and what is not used here. y: [rows, C].
void echostream_gated_tanh(const float* projected, int64_t rows, int64_t C, float* y) {
  using namespace echostream;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t c = 0; c < C; c += LANES) {
      const float* x = projected + row * 3 * C + c;
      store_some(y + row * C + c, tanh(load_some(x, C - c)) * load_some(x + C, C - c), C - c);
    }
}
}
