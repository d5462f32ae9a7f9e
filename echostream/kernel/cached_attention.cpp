// Attention of a few tokens to what a decoder keeps: their own past, and encoder frames.
//
// n tokens, H heads, D channels of a head. Keys and values lie in parts [2, H, P, D] of any P each, one
// after the other W rows in all; they are read where they lie. What is read is most of the time, so
// nothing is moved to read it faster.

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "operation.h"
#include "softmax.h"
#include "vector.h"

namespace echostream {
namespace {

// D numbers of a row, as vectors; `whole` if it is a whole number of them.
template <bool whole>
inline Vector load_of(const float* row, int64_t d, int64_t D) {
  return whole ? load(row + d) : load_some(row + d, D - d);
}

// Scores of one query with P rows of keys.
template <bool whole>
void score(const float* query, const float* keys, int64_t P, int64_t D, float scale, float* scores) {
  const auto rows = [&](auto count, int64_t p) __attribute__((always_inline)) {
    Vector sums[count.value] = {};
    for (int64_t d = 0; d < D; d += LANES) {
      const Vector q = load_of<whole>(query, d, D);
      for (int m = 0; m < count.value; m++)
        sums[m] += q * load_of<whole>(keys + (p + m) * D, d, D);
    }
    for (int m = 0; m < count.value; m++)
      scores[p + m] = reduce(sums[m], [](Vector x, Vector y) { return x + y; })[0] * scale;
  };
  int64_t p = 0;
  for (; p + 4 <= P; p += 4) rows(std::integral_constant<int, 4>(), p);
  for (; p < P; p++) rows(std::integral_constant<int, 1>(), p);
}

// Adds P weighted rows of values to N vectors of sums.
template <bool whole, int N>
inline void mix(const float* weights, const float* values, int64_t P, int64_t D, int64_t d,
                Vector (&sums)[N]) {
  for (int64_t p = 0; p < P; p++)
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
      sums[n] += weights[p] * load_of<whole>(values + p * D, d + n * LANES, D);
}

}  // namespace
}  // namespace echostream

// queries: [n, H D]. parts: [2, H, any, D], keys and values. mask: [n, W] or [1, W], added, or [0, 0] for
// none. Result: [H, n, W].
OPERATION(cached_weights, "(Tensor queries, Tensor[] parts, Tensor mask, int heads) -> Tensor",
          AtenTensorHandle given_queries, const AtenTensorHandle* given_parts, int64_t count,
          AtenTensorHandle given_mask, int64_t heads) {
  using namespace echostream;
  const Dense queries(given_queries), mask(given_mask);
  const DenseList parts(given_parts, count, Layout::MATRICES);
  const int64_t n = queries.size(0), H = heads, D = queries.size(1) / H, masks = mask.size(0);
  const float scale = 1.0f / std::sqrt((float)D);
  int64_t W = 0;
  for (const Dense& part : parts.tensors) W += part.size(2);
  float* weights = make(result, {H, n, W});
  AlignedBuffer scores(filled_up(W));
  for (int64_t h = 0; h < H; h++)
    for (int64_t i = 0; i < n; i++) {
      const float* query = queries.data() + (i * H + h) * D;
      float* to = scores.data();
      for (const Dense& part : parts.tensors) {
        const int64_t P = part.size(2);
        (D % LANES ? score<false> : score<true>)(query, part.data(0, h), P, D, scale, to);
        to += P;
      }
      const float* added = masks ? mask.data() + (masks == 1 ? 0 : i) * W : nullptr;
      softmax(scores.data(), added, W, weights + (h * n + i) * W);
    }
  return 0;
}

// weights: [H, n, W]. parts: as above. Result: [n, H D].
OPERATION(cached_mix, "(Tensor weights, Tensor[] parts) -> Tensor", AtenTensorHandle given_weights,
          const AtenTensorHandle* given_parts, int64_t count) {
  using namespace echostream;
  const Dense weights(given_weights);
  const DenseList parts(given_parts, count, Layout::MATRICES);
  const int64_t H = weights.size(0), n = weights.size(1), W = weights.size(2);
  const int64_t D = parts.tensors[0].size(3);
  float* mixed = make(result, {n, H * D});
  for (int64_t h = 0; h < H; h++)
    for (int64_t i = 0; i < n; i++) {
      int64_t d = 0;
      const auto vectors = [&](auto whole, auto count) {
        Vector sums[count.value] = {};
        const float* by = weights.data() + (h * n + i) * W;
        for (const Dense& part : parts.tensors) {
          const int64_t P = part.size(2);
          mix<whole.value>(by, part.data(1, h), P, D, d, sums);
          by += P;
        }
        for (int v = 0; v < count.value; v++, d += LANES)
          store_some(mixed + (i * H + h) * D + d, sums[v], D - d);
      };
      while (d + 8 * LANES <= D) vectors(std::true_type(), std::integral_constant<int, 8>());
      while (d + 4 * LANES <= D) vectors(std::true_type(), std::integral_constant<int, 4>());
      while (d < D) vectors(std::false_type(), std::integral_constant<int, 1>());
    }
  return 0;
}
