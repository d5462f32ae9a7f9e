// Linear layers of a few rows: y[M, N] = x[M, K] W + b, with packed weights.
//
// M rows (frames of a chunk), K inputs, N outputs. A streaming encoder multiplies each weight by 2 to
// 16 rows only, so the time is that of reading the weights. They are read once, in the order in which
// they lie in memory: tiles of TILE outputs, [N / TILE][K][TILE], padded with zeros, and then the bias,
// padded alike (see packed_weights.py).
//
// An int8 tile is [K / 4][TILE][4], padded with zeros. The inputs are rounded too, each row with one
// scale: to int8 where the processor adds four int8 products at a time, else to int16.
//
// The epilogue works on sums while they are in registers: SwooshL, GELU, or a residual that is added.
//
// Sums run over k in order for every M, so a row gives the same bits alone and in a batch.

#include <cstdint>

#include "operation.h"
#include "packed_weights.h"
#include "quantised_rows.h"
#include "vector.h"

namespace echostream {
namespace {

// 8 rows of 2 vectors are 16 sums in 32 registers: enough to hide the latency of each.
constexpr int ROWS = LANES == 16 ? 8 : 4, VECTORS = 2;
constexpr int64_t WIDTH = LANES * VECTORS;

// How far ahead of use weights are prefetched with 8 rows: then arithmetic fills the processor's
// window, and its own prefetcher comes too late at the end of a page. With fewer rows it does not, and
// such hints only cost time.
constexpr int64_t AHEAD = 3072;

constexpr int64_t SWOOSH_L = 1, GELU = 2;

// What is done with the sums of a layer.
struct Epilogue {
  int64_t activation;
  const float* addend;  // [M, N]; nullptr for nothing.

  // Writes the first `count` of `sums` to place `at` of the result.
  void operator()(Vector sums, float* y, int64_t at, int64_t count) const {
    if (activation == SWOOSH_L) sums = swoosh(sums, 4.0f, 0.035f);
    if (activation == GELU) sums = gelu(sums);
    if (addend) sums = load_some(addend + at, count) + sums;
    store_some(y + at, sums, count);
  }
};

// M rows from row `first` on by WIDTH columns of a tile from output `n` on.
template <int M>
inline __attribute__((always_inline)) void block(const float* __restrict x, int64_t first,
                                                 int64_t K, const float* __restrict tile,
                                                 const float* __restrict bias,
                                                 float* __restrict y, int64_t N, int64_t n,
                                                 Epilogue epilogue) {
  x += first * K;
  Vector sums[M][VECTORS];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < VECTORS; v++) sums[m][v] = load(bias + LANES * v);
#pragma GCC unroll 4
  for (int64_t k = 0; k < K; k++) {
    if (M >= 8)
      for (int v = 0; v < VECTORS; v++)
        __builtin_prefetch(tile + k * TILE + LANES * v + AHEAD, 0, 2);
    Vector weights[VECTORS];
    for (int v = 0; v < VECTORS; v++)
      weights[v] = load(tile + k * TILE + LANES * v);
    for (int m = 0; m < M; m++)
      for (int v = 0; v < VECTORS; v++) sums[m][v] += x[m * K + k] * weights[v];
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < VECTORS; v++)
      epilogue(sums[m][v], y, (first + m) * N + n + LANES * v, N - n - LANES * v);
}

void columns(const float* x, int64_t M, int64_t K, const float* tile, const float* bias, float* y,
             int64_t N, int64_t n, Epilogue epilogue) {
  int64_t m = 0;
  const auto rows = [&](auto run, int count) {
    run(x, m, K, tile, bias, y, N, n, epilogue);
    m += count;
  };
  while (m + ROWS <= M) rows(block<ROWS>, ROWS);
  if (ROWS > 4 && m + 4 <= M) rows(block<4>, 4);
  if (m + 2 <= M) rows(block<2>, 2);
  if (m < M) rows(block<1>, 1);
}

#if defined(__AVX512VNNI__)

// Cache lines of TILE outputs for 64 inputs.
constexpr int LINES = TILE;

// M rows, from row `first` on, by the first V vectors of the tile of outputs from `n` on. Meanwhile
// FETCHED cache lines are prefetched of each 64 inputs of the next tile, from `next` on.
template <int M, int V, int FETCHED>
inline __attribute__((always_inline)) void block_int8(
    const QuantisedRows& x, int64_t first, const uint8_t* tile, const uint8_t* next,
    const float* scales, const float* bias, float* __restrict y, int64_t N, int64_t n, Epilogue epilogue) {
  const int8_t* rows = x.row(first);
  __m512i products[M][V];
  // Weights are stored as w + 128, since one factor of an int8 product must be unsigned.
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) products[m][v] = _mm512_set1_epi32(-128 * x.sums[first + m]);
  const auto four_inputs = [&](int64_t k) __attribute__((always_inline)) {
    __m512i weights[V];
    for (int v = 0; v < V; v++) weights[v] = _mm512_loadu_si512(tile + k * TILE + 64 * v);
    for (int m = 0; m < M; m++) {
      int32_t four;
      __builtin_memcpy(&four, rows + m * x.stride + k, 4);
      const __m512i factors = _mm512_set1_epi32(four);
      for (int v = 0; v < V; v++)
        products[m][v] = _mm512_dpbusd_epi32(products[m][v], weights[v], factors);
    }
  };
  int64_t k = 0;
  for (; k + 64 <= x.inputs; k += 64) {
    for (int line = 0; line < FETCHED; line++)
      __builtin_prefetch(next + k * TILE + 64 * line, 0, 2);
#pragma GCC unroll 16
    for (int64_t four = 0; four < 64; four += 4) four_inputs(k + four);
  }
  for (; k < x.inputs; k += 4) four_inputs(k);
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) {
      const __m512 scaled = _mm512_fmadd_ps(
          _mm512_mul_ps(_mm512_cvtepi32_ps(products[m][v]), _mm512_set1_ps(x.scales[first + m])),
          _mm512_loadu_ps(scales + 16 * v), _mm512_loadu_ps(bias + 16 * v));
      epilogue((Vector)scaled, y, (first + m) * N + n + 16 * v, N - n - 16 * v);
    }
}

#elif defined(__AVX2__)

// M rows, from row `first` on, by 4 V outputs of a tile, from `n` on.
template <int M, int V>
inline __attribute__((always_inline)) void block_int8(const QuantisedRows& x, int64_t first,
                                                      const uint8_t* tile, const float* scales,
                                                      const float* bias, float* __restrict y,
                                                      int64_t N, int64_t n, Epilogue epilogue) {
  const int16_t* rows = x.row(first);
  // Two sums for each output, of the even and the odd pairs of inputs.
  __m256i sums[M][V];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) sums[m][v] = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int64_t k = 0; k < x.inputs; k += 4) {
    __m256i weights[V];
    for (int v = 0; v < V; v++)
      weights[v] = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(tile + k * TILE + 16 * v)));
    for (int m = 0; m < M; m++) {
      int64_t four;
      __builtin_memcpy(&four, rows + m * x.inputs + k, 8);
      const __m256i factors = _mm256_set1_epi64x(four);
      for (int v = 0; v < V; v++)
        sums[m][v] = _mm256_add_epi32(sums[m][v], _mm256_madd_epi16(weights[v], factors));
    }
  }
  for (int m = 0; m < M; m++) {
    // Weights are stored as w + 128. Sums wrap around until that is taken out.
    const __m256i surplus = _mm256_set1_epi32((int32_t)(128u * (uint32_t)x.sums[first + m]));
    for (int v = 0; v < V; v += 2) {
      const __m256i pairs = _mm256_hadd_epi32(sums[m][v], sums[m][v + 1]);
      const __m256i whole =
          _mm256_sub_epi32(_mm256_permute4x64_epi64(pairs, _MM_SHUFFLE(3, 1, 2, 0)), surplus);
      const Vector scaled = (Vector)_mm256_cvtepi32_ps(whole) * x.scales[first + m] *
                                load(scales + 4 * v) + load(bias + 4 * v);
      epilogue(scaled, y, (first + m) * N + n + 4 * v, N - n - 4 * v);
    }
  }
}

#endif

// x: [M, K]. weights: the layer's. y: [M, N].
void linear(const float* x, int64_t M, int64_t K, const float* weights, int64_t N, Epilogue epilogue,
            float* y, int threads) {
  const int64_t tiles = (N + TILE - 1) / TILE;
  const float* bias = weights + tiles * TILE * K;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t tile = 0; tile < tiles; tile++) {
    for (int64_t n = tile * TILE; n < N && n < (tile + 1) * TILE; n += WIDTH)
      columns(x, M, K, weights + tile * TILE * K + n % TILE, bias + n, y, N, n, epilogue);
  }
}

// The same for int8 weights.
void linear_int8(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                 Epilogue epilogue, float* y, int threads) {
#if defined(__AVX512VNNI__)
  const QuantisedRows rounded(x, M, K);
  const int64_t tiles = (N + TILE - 1) / TILE, inputs = (K + 3) / 4 * 4;
  const uint8_t* bytes = (const uint8_t*)weights;
  const float* scales = (const float*)(bytes + tiles * TILE * inputs);
  const float* bias = scales + tiles * TILE;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t n = tile * TILE;
    const uint8_t* own = bytes + n * inputs;
    int64_t m = 0;
    const auto rows = [&](auto run, int count, int64_t line) {
      run(rounded, m, own, own + TILE * inputs + 64 * line, scales + n, bias + n, y, N, n,
          epilogue);
      m += count;
    };
    if (N - n <= LANES) {
      while (m + 8 <= M) rows(block_int8<8, 1, 0>, 8, 0);
      if (m + 4 <= M) rows(block_int8<4, 1, 0>, 4, 0);
      if (m + 2 <= M) rows(block_int8<2, 1, 0>, 2, 0);
      if (m < M) rows(block_int8<1, 1, 0>, 1, 0);
      continue;
    }
    // From 8 rows on there is time to prefetch the next tile. From 16 rows on each block prefetches a
    // part of it, so that no block waits.
    if (M >= 32) {
      for (int line = 0; line < LINES; line += 4) rows(block_int8<4, 2, 4>, 4, line);
    } else if (M >= 16) {
      for (int line = 0; line < LINES; line += 8) rows(block_int8<4, 2, 8>, 4, line);
    } else if (M >= 8) {
      rows(block_int8<8, 2, LINES>, 8, 0);
    }
    while (m + 4 <= M) rows(block_int8<4, 2, 0>, 4, 0);
    if (m + 2 <= M) rows(block_int8<2, 2, 0>, 2, 0);
    if (m < M) rows(block_int8<1, 2, 0>, 1, 0);
  }
#elif defined(__AVX2__)
  const QuantisedRows rounded(x, M, K);
  const int64_t tiles = (N + TILE - 1) / TILE;
  const uint8_t* bytes = (const uint8_t*)weights;
  const float* scales = (const float*)(bytes + tiles * TILE * rounded.inputs);
  const float* bias = scales + tiles * TILE;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t tile = 0; tile < tiles; tile++) {
    const uint8_t* own = bytes + tile * TILE * rounded.inputs;
    int64_t m = 0;
    // As many outputs at once as there are registers for.
    const auto rows = [&](auto run, int count, int64_t width) {
      for (int64_t n = tile * TILE; n < N && n < (tile + 1) * TILE; n += width)
        run(rounded, m, own + 4 * (n % TILE), scales + n, bias + n, y, N, n, epilogue);
      m += count;
    };
    while (m + 4 <= M) rows(block_int8<4, 2>, 4, 8);
    if (m + 2 <= M) rows(block_int8<2, 4>, 2, 16);
    if (m < M) rows(block_int8<1, 8>, 1, 32);
  }
#else
  throw std::runtime_error("this processor has no instructions for int8 weights (AVX2)");
#endif
}

AOTITorchError run(decltype(linear) compute, AtenTensorHandle given_x,
                   AtenTensorHandle given_weights, int64_t offset, int64_t outputs, int64_t activation,
                   const float* addend, AtenTensorHandle* result) {
  const Dense x(given_x), weights(given_weights);
  std::vector<int64_t> sizes = x.sizes();
  const int64_t inputs = sizes.back();
  sizes.back() = outputs;
  compute(x.data(), x.count() / inputs, inputs, weights.data() + offset, outputs,
          {activation, addend}, make(result, sizes), threads());
  return 0;
}

}  // namespace
}  // namespace echostream

// x: [..., K]. weights: flat, with the layer at `offset`. outputs: N. activation: 1 for SwooshL, 2 for GELU, 0
// for none.
// Result: [..., N].
OPERATION(packed_linear,
          "(Tensor x, Tensor weights, int offset, int outputs, int activation) -> Tensor",
          AtenTensorHandle x, AtenTensorHandle weights, int64_t offset, int64_t outputs,
          int64_t activation) {
  using namespace echostream;
  return run(linear, x, weights, offset, outputs, activation, nullptr, result);
}

OPERATION(packed_linear_int8,
          "(Tensor x, Tensor weights, int offset, int outputs, int activation) -> Tensor",
          AtenTensorHandle x, AtenTensorHandle weights, int64_t offset, int64_t outputs,
          int64_t activation) {
  using namespace echostream;
  return run(linear_int8, x, weights, offset, outputs, activation, nullptr, result);
}

// addend: [..., N], which the layer is added to.
OPERATION(packed_linear_add, "(Tensor x, Tensor weights, int offset, Tensor addend) -> Tensor",
          AtenTensorHandle x, AtenTensorHandle weights, int64_t offset, AtenTensorHandle given) {
  using namespace echostream;
  const Dense addend(given);
  return run(linear, x, weights, offset, addend.sizes().back(), 0, addend.data(), result);
}

OPERATION(packed_linear_int8_add, "(Tensor x, Tensor weights, int offset, Tensor addend) -> Tensor",
          AtenTensorHandle x, AtenTensorHandle weights, int64_t offset, AtenTensorHandle given) {
  using namespace echostream;
  const Dense addend(given);
  return run(linear_int8, x, weights, offset, addend.sizes().back(), 0, addend.data(), result);
}
