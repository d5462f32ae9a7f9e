// Attention of the frames of one chunk to themselves and to their left context.
//
// B streams, S frames of a chunk, P frames of left context, W = P + S frames in sight, H heads, D
// numbers of a query, E of a query for positions, V of a value, R = P + 2 S - 1 relative positions.
//
// The past lies apart from the chunk, as the state keeps it, and is read from there. Streams are
// computed one after the other, so each gives the same bits alone and among others.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "vector.h"

namespace echostream {
namespace {

// Streams wait for their pasts, which other streams and all weights have driven out of the caches
// since the last chunk. So rows are fetched so many rows before they are read, into the second level
// of the cache: of those on their way into the first there can only be a few at a time.
constexpr int64_t AHEAD = 64;

// Below every score, also of what is hidden; its exponential is zero.
constexpr float FAR_BELOW = 3e38f;

// Where the rows of keys or values of each stream begin: first the past's, then the chunk's. After
// the last stream the last row stands AHEAD times more.
std::vector<const float*> find_rows(const float* const* past, int64_t blocks, int64_t P,
                                    int64_t channels, const float* chunk, int64_t stride, int64_t B,
                                    int64_t S) {
  std::vector<const float*> rows;
  rows.reserve(B * (P + S) + AHEAD);
  const int64_t frames = blocks ? P / blocks : 0;
  for (int64_t b = 0; b < B; b++) {
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t p = 0; p < frames; p++)
        rows.push_back(past[block] + (b * frames + p) * channels);
    for (int64_t s = 0; s < S; s++) rows.push_back(chunk + (b * S + s) * stride);
  }
  rows.insert(rows.end(), AHEAD, rows.back());
  return rows;
}

int64_t filled_up(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

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

// Softmax of W scores with a mask added; the scores are filled up with anything, and are changed.
void softmax(float* scores, const float* mask, int64_t W, float* weights) {
  const int64_t width = filled_up(W);
  Vector largest = Vector{} - FAR_BELOW;
  for (int64_t w = 0; w < width; w += LANES) {
    const Vector x =
        blend(load(scores + w) + load_some(mask + w, W - w), W - w, Vector{} - FAR_BELOW);
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

extern "C" {

// projected: [B, S, 2 H D + H E], queries, keys, queries for positions. past: [B, P, H D], in so
// many blocks of [B, P / blocks, H D]. positions: [H, E, R]. mask: [B, S, W], added. weights:
// [B, H, S, W].
void echostream_attention_weights(const float* projected, const float* const* past, int64_t blocks,
                                  const float* positions, const float* mask, int64_t B, int64_t S,
                                  int64_t P, int64_t H, int64_t D, int64_t E, float* weights) {
  using namespace echostream;
  const int64_t W = P + S, R = W + S - 1, row = 2 * H * D + H * E, width = filled_up(W);
  AlignedBuffer keys(filled_up(D) * width), scores(4 * width);
  const auto rows = find_rows(past, blocks, P, H * D, projected + H * D, row, B, S);
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) {
      const float* query = projected + b * S * row + h * D;
      const float* position_query = projected + b * S * row + 2 * H * D + h * E;
      transpose_keys(rows.data() + b * W, h * D, W, D, keys.data());
      const auto several = [&](auto run, int64_t s, int count) {
        run(query + s * row, position_query + s * row, row, keys.data(), D, positions + h * E * R,
            E, R, S - 1 - s, W, scores.data());
        for (int m = 0; m < count; m++)
          softmax(scores.data() + m * width, mask + (b * S + s + m) * W, W,
                  weights + ((b * H + h) * S + s + m) * W);
      };
      int64_t s = 0;
      for (; s + 4 <= S; s += 4) several(score<4>, s, 4);
      for (; s < S; s++) several(score<1>, s, 1);
    }
  }
}

// weights: [B, G, S, W], of whose G heads the first H are used. past: [B, P, H V], in blocks.
// values, mixed: [B, S, H V].
void echostream_attention_mix(const float* weights, const float* const* past, int64_t blocks,
                              const float* values, int64_t B, int64_t G, int64_t S, int64_t P,
                              int64_t H, int64_t V, float* mixed) {
  using namespace echostream;
  const int64_t W = P + S, channels = H * V;
  const auto rows = find_rows(past, blocks, P, channels, values, channels, B, S);
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) {
      const float* by = weights + (b * G + h) * S * W;
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
}
}
