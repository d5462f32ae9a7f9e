// What is computed of each value by itself.
//
// C channels; rows are all frames of all streams.

#include "operation.h"
#include "vector.h"

// SwooshR, of a tensor of any shape. The result lies in memory in the same order.
OPERATION(swoosh_r, "(Tensor x) -> Tensor", AtenTensorHandle given) {
  using namespace echostream;
  const Dense tensor(given, Layout::ANY_ORDER);
  const float* x = tensor.data();
  float* y = tensor.make_like(result);
  const int64_t count = tensor.count();
  for (int64_t i = 0; i < count; i += LANES)
    store_some(y + i, swoosh(load_some(x + i, count - i), 1.0f, SWOOSH_R_OFFSET), count - i);
  return 0;
}

// projected: [B, S, 2 C], values and gates. valid: [B, S, 1]. Result: [B, S, C].
OPERATION(gated_sigmoid, "(Tensor projected, Tensor valid) -> Tensor",
          AtenTensorHandle given_projected, AtenTensorHandle given_valid) {
  using namespace echostream;
  const Dense projected(given_projected), valid(given_valid);
  const int64_t B = projected.size(0), S = projected.size(1), C = projected.size(2) / 2;
  float* y = make(result, {B, S, C});
  for (int64_t row = 0; row < B * S; row++)
    for (int64_t c = 0; c < C; c += LANES) {
      const float* x = projected.data() + row * 2 * C + c;
      const Vector value = load_some(x, C - c), gate = sigmoid(load_some(x + C, C - c));
      store_some(y + row * C + c, value * gate * valid.data()[row], C - c);
    }
  return 0;
}

// projected: [B, S, 3 C], gates, values, and what is not used here. Result: [B, S, C].
OPERATION(gated_tanh, "(Tensor projected) -> Tensor", AtenTensorHandle given_projected) {
  using namespace echostream;
  const Dense projected(given_projected);
  const int64_t B = projected.size(0), S = projected.size(1), C = projected.size(2) / 3;
  float* y = make(result, {B, S, C});
  for (int64_t row = 0; row < B * S; row++)
    for (int64_t c = 0; c < C; c += LANES) {
      const float* x = projected.data() + row * 3 * C + c;
      store_some(y + row * C + c, tanh(load_some(x, C - c)) * load_some(x + C, C - c), C - c);
    }
  return 0;
}
