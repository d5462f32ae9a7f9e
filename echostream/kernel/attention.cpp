// Attention of the frames of one chunk to themselves and to their left context.
//
// B streams, S frames of a chunk, P frames of left context, W = P + S frames of a window, H heads,
// D channels of a query, E of a query for positions, V of a value, R = P + 2 S - 1 relative positions.
//
// The left context is read where the state keeps it. Streams are computed one after the other, so a
// stream gives the same bits alone and in a batch.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "operation.h"
#include "softmax.h"
#include "vector.h"

namespace echostream {
namespace {

// The left context has left the caches since the last chunk: other streams and the weights took its
// place. Each row is prefetched this many rows before it is read. The second-level cache is the target,
// since the first takes only a few requests at a time.
constexpr int64_t AHEAD = 64;

// Pointers to the rows of keys or values, stream after stream: the left context's, then the chunk's.
// The last row is repeated AHEAD times, so that prefetching needs no end.
std::vector<const float*> find_rows(const std::vector<const float*>& past, int64_t P,
                                    int64_t channels, const float* chunk, int64_t stride, int64_t B,
                                    int64_t S) {
  std::vector<const float*> rows;
  rows.reserve(B * (P + S) + AHEAD);
  const int64_t frames = P / (int64_t)past.size();
  for (int64_t b = 0; b < B; b++) {
    for (const float* block : past)
      for (int64_t p = 0; p < frames; p++) rows.push_back(block + (b * frames + p) * channels);
    for (int64_t s = 0; s < S; s++) rows.push_back(chunk + (b * S + s) * stride);
  }
  rows.insert(rows.end(), AHEAD, rows.back());
  return rows;
}

// [W][D] as [filled-up D][filled-up W], with zeros where it is filled up.
void transpose_keys(const float* const* rows, int64_t column, int64_t W, int64_t D, float* to) {
  const int64_t width = filled_up(W);
  for (int64_t w = 0; w < width; w += LANES)
    for (int64_t d = 0; d < D; d += LANES) {
      Vector block[LANES];
      for (int i = 0; i < LANES && w + i < W; i++)
        __builtin_prefetch(rows[w + i + AHEAD] + column + d, 0, 2);
      for (int i = 0; i < LANES; i++)
        block[i] = w + i < W ? load_some(rows[w + i] + column + d, D - d) : Vector{};
      transpose(block);
      for (int i = 0; i < LANES; i++) store(to + (d + i) * width + w, block[i]);
    }
}

// Scores of M queries with all keys: products of queries and keys, and of queries for positions
// with the encoding of the distance.
template <int M>
void score(const float* queries, const float* position_queries, int64_t stride, const float* keys,
           int64_t D, const float* positions, int64_t E, int64_t R, int64_t first_row, int64_t W,
           float* scores) {
  const int64_t width = filled_up(W);
  for (int64_t w = 0; w < width; w += LANES) {
    Vector sums[M] = {};
    for (int64_t d = 0; d < D; d++) {
      const Vector key = load(keys + d * width + w);
      for (int m = 0; m < M; m++) sums[m] += queries[m * stride + d] * key;
    }
    for (int64_t e = 0; e < E; e++)
      for (int m = 0; m < M; m++)
        sums[m] += position_queries[m * stride + e] *
                   load_some(positions + e * R + first_row - m + w, W - w);
    for (int m = 0; m < M; m++) store(scores + m * width + w, sums[m]);
  }
}

// M rows of weights times the values, `count` numbers of each, at most N vectors.
template <int M, int N>
void mix(const float* weights, int64_t W, const float* const* values, int64_t column,
         int64_t count, bool fetch, float* mixed, int64_t stride) {
  Vector sums[M][N] = {};
  for (int64_t w = 0; w < W; w++) {
    const float* from = values[w] + column;
    if (fetch)
#pragma GCC unroll 2
      for (int n = 0; n < N; n++)
        __builtin_prefetch(values[w + AHEAD] + column + n * LANES, 0, 2);
#pragma GCC unroll 2
    for (int n = 0; n < N; n++) {
      const Vector value = load_some(from + n * LANES, count - n * LANES);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) sums[m][n] += weights[m * W + w] * value;
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 2
    for (int n = 0; n < N; n++)
      store_some(mixed + m * stride + column + n * LANES, sums[m][n], count - n * LANES);
}

}  // namespace
}  // namespace echostream

// projected: [B, S, 2 H D + H E], queries, keys, queries for positions. past: [B, P, H D], in blocks of
// as many frames each. positions: [H, E, R]. mask: [B, 1, S, W], added. Result: [B, H, S, W].
OPERATION(attention_weights,
          "(Tensor projected, Tensor[] past, Tensor positions, Tensor mask, int heads) -> Tensor",
          AtenTensorHandle given_projected, const AtenTensorHandle* given_past, int64_t blocks,
          AtenTensorHandle given_positions, AtenTensorHandle given_mask, int64_t heads) {
  using namespace echostream;
  const Dense projected(given_projected), positions(given_positions), mask(given_mask);
  const DenseList past(given_past, blocks);
  const int64_t B = projected.size(0), S = projected.size(1), H = heads;
  const int64_t D = past.tensors[0].size(2) / H, E = positions.size(1);
  const int64_t P = blocks * past.tensors[0].size(1), W = P + S, R = W + S - 1;
  const int64_t row = 2 * H * D + H * E, width = filled_up(W);
  float* weights = make(result, {B, H, S, W});
  AlignedBuffer keys(filled_up(D) * width), scores(8 * width);
  const auto rows = find_rows(past.data, P, H * D, projected.data() + H * D, row, B, S);
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) {
      const float* query = projected.data() + b * S * row + h * D;
      const float* position_query = projected.data() + b * S * row + 2 * H * D + h * E;
      transpose_keys(rows.data() + b * W, h * D, W, D, keys.data());
      const auto several = [&](auto run, int64_t s, int count) {
        run(query + s * row, position_query + s * row, row, keys.data(), D, positions.data() + h * E * R,
            E, R, S - 1 - s, W, scores.data());
        for (int m = 0; m < count; m++)
          softmax(scores.data() + m * width, mask.data() + (b * S + s + m) * W, W,
                  weights + ((b * H + h) * S + s + m) * W);
      };
      int64_t s = 0;
      for (; s + 8 <= S; s += 8) several(score<8>, s, 8);
      for (; s + 4 <= S; s += 4) several(score<4>, s, 4);
      for (; s < S; s++) several(score<1>, s, 1);
    }
  }
  return 0;
}

// weights: [B, G, S, W], of whose G heads the first H are used. past: [B, P, H V], in blocks.
// values and the result: [B, S, H V].
OPERATION(attention_mix, "(Tensor weights, Tensor[] past, Tensor values, int heads) -> Tensor",
          AtenTensorHandle given_weights, const AtenTensorHandle* given_past, int64_t blocks,
          AtenTensorHandle given_values, int64_t heads) {
  using namespace echostream;
  const Dense weights(given_weights), values(given_values);
  const DenseList past(given_past, blocks);
  const int64_t B = values.size(0), S = values.size(1), channels = values.size(2);
  const int64_t G = weights.size(1), H = heads, V = channels / H;
  const int64_t P = blocks * past.tensors[0].size(1), W = P + S;
  float* mixed = make(result, {B, S, channels});
  const auto rows = find_rows(past.data, P, channels, values.data(), channels, B, S);
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) {
      const float* by = weights.data() + (b * G + h) * S * W;
      for (int64_t v = 0; v < V; v += 2 * LANES) {
        const int64_t count = std::min<int64_t>(V - v, 2 * LANES), column = h * V + v;
        const auto block = [&](auto run, int64_t s) {
          run(by + s * W, W, rows.data() + b * W, column, count, s == 0,
              mixed + (b * S + s) * channels, channels);
        };
        int64_t s = 0;
        if (count > LANES) {
          for (; s + 8 <= S; s += 8) block(mix<8, 2>, s);
          for (; s + 2 <= S; s += 2) block(mix<2, 2>, s);
          for (; s < S; s++) block(mix<1, 2>, s);
        } else {
          for (; s + 8 <= S; s += 8) block(mix<8, 1>, s);
          for (; s + 2 <= S; s += 2) block(mix<2, 1>, s);
          for (; s < S; s++) block(mix<1, 1>, s);
        }
      }
    }
  }
  return 0;
}
