// Scores of attention to weights.

#pragma once

#include <cstdint>

#include "vector.h"

namespace echostream {

// Below every score, hidden ones included; its exponential is zero.
constexpr float FAR_BELOW = 3e38f;

inline int64_t filled_up(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// Softmax of W scores, with a mask added if there is one; the scores are filled up with anything, and
// are changed.
inline void softmax(float* scores, const float* mask, int64_t W, float* weights) {
  const int64_t width = filled_up(W);
  Vector largest = Vector{} - FAR_BELOW;
  for (int64_t w = 0; w < width; w += LANES) {
    Vector x = load(scores + w);
    if (mask) x += load_some(mask + w, W - w);
    x = blend(x, W - w, Vector{} - FAR_BELOW);
    store(scores + w, x);
    largest = x > largest ? x : largest;
  }
  largest = reduce(largest, [](Vector x, Vector y) { return x > y ? x : y; });
  Vector sums = {};
  for (int64_t w = 0; w < width; w += LANES) {
    const Vector x = exponential(load(scores + w) - largest);
    store(scores + w, x);
    sums += x;
  }
  const Vector scale = 1.0f / reduce(sums, [](Vector x, Vector y) { return x + y; });
  for (int64_t w = 0; w < width; w += LANES)
    store_some(weights + w, load(scores + w) * scale, W - w);
}

}  // namespace echostream
