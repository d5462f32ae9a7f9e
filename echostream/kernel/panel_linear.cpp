// Linear layers of a few rows: y[M, N] = x[M, K] W + b, with W laid out in the order it is read in.
//
// M rows (frames of a chunk), K inputs, N outputs. A streaming encoder multiplies 2 to 16 rows by
// every weight it has, so what counts is to read the weights once, straight through, at the speed
// of the memory, and to do all that is to be done with each while it is in a register. W lies in
// panels of PANEL outputs, [N / PANEL][K][PANEL], the last one filled up with zeros, and after them
// the bias, filled up alike (see panels.py).
//
// With int8 weights a panel is bytes, [K / 4][PANEL][4], with zeros where K ends, and the inputs are
// rounded to bytes as they come, GROUP of a row with one scale. The processor adds four products of
// bytes at a time.
//
// What is done with a sum before it is written, so that it need not be read again, is SwooshL or
// nothing.
//
// Sums run over k in order, whatever M is, so a row gives the same bits alone and among others.

#include <cstdint>
#include <memory>

#include "kernels.h"
#include "vector.h"

namespace echostream {
namespace {

// 8 rows of 2 vectors are 16 sums in 32 registers: enough to hide the latency of each.
constexpr int ROWS = LANES == 16 ? 8 : 4, VECTORS = 2;
constexpr int64_t WIDTH = LANES * VECTORS;

// With 8 rows the arithmetic fills the processor's window, and it no longer runs into the next page
// of memory by itself early enough. With fewer rows it does, and is slowed by such hints.
constexpr int64_t AHEAD = 3072;

inline Vector activated(Vector sum, bool swoosh_l) {
  return swoosh_l ? swoosh(sum, 4.0f, 0.035f) : sum;
}

// M rows by WIDTH columns of a panel; `outputs` of them exist.
template <int M>
inline __attribute__((always_inline)) void block(
    const float* __restrict x, int64_t K, const float* __restrict panel,
    const float* __restrict bias, float* __restrict y, int64_t N, int64_t outputs, bool swoosh_l) {
  Vector sums[M][VECTORS];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < VECTORS; v++) sums[m][v] = load(bias + LANES * v);
#pragma GCC unroll 4
  for (int64_t k = 0; k < K; k++) {
    if (M >= 8)
      for (int v = 0; v < VECTORS; v++)
        __builtin_prefetch(panel + k * PANEL + LANES * v + AHEAD, 0, 2);
    Vector weights[VECTORS];
    for (int v = 0; v < VECTORS; v++)
      weights[v] = load(panel + k * PANEL + LANES * v);
    for (int m = 0; m < M; m++)
      for (int v = 0; v < VECTORS; v++) sums[m][v] += x[m * K + k] * weights[v];
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < VECTORS; v++)
      store_some(y + m * N + LANES * v, activated(sums[m][v], swoosh_l), outputs - LANES * v);
}

void columns(const float* x, int64_t M, int64_t K, const float* panel, const float* bias, float* y,
             int64_t N, int64_t outputs, bool swoosh_l) {
  int64_t m = 0;
  const auto rows = [&](auto run, int count) {
    run(x + m * K, K, panel, bias, y + m * N, N, outputs, swoosh_l);
    m += count;
  };
  while (m + ROWS <= M) rows(block<ROWS>, ROWS);
  if (ROWS > 4 && m + 4 <= M) rows(block<4>, 4);
  if (m + 2 <= M) rows(block<2>, 2);
  if (m < M) rows(block<1>, 1);
}

#if defined(__AVX512VNNI__)

constexpr int64_t GROUP = 64;

// Of a group of a panel.
constexpr int LINES = GROUP * PANEL / 64;

// Rows of bytes, filled up with zeros to whole groups.
struct Rounded {
  int64_t whole_groups, groups;
  int64_t rest;  // Inputs of a last group that is not whole, with zeros to a multiple of four.
  std::unique_ptr<int8_t[]> bytes;
  std::unique_ptr<float[]> scales;  // [M, groups]
  // Weights are stored as w + 128, because of two bytes that are multiplied one must be unsigned.
  // So sums start at -128 times the sum of the inputs.
  std::unique_ptr<float[]> shifts;  // [M]

  Rounded(const float* x, int64_t M, int64_t K)
      : whole_groups(K / GROUP),
        groups((K + GROUP - 1) / GROUP),
        rest((K % GROUP + 3) / 4 * 4),
        bytes(new int8_t[M * groups * GROUP]),
        scales(new float[M * groups]),
        shifts(new float[M]) {
    for (int64_t m = 0; m < M; m++) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t g = 0; g < groups; g++)
        sum = round(x + m * K + g * GROUP, K - g * GROUP, m * groups + g, sum);
      shifts[m] = -128.0f * _mm512_reduce_add_ps(sum);
    }
  }

 private:
  // A group; `sum` and what is added by it.
  __m512 round(const float* from, int64_t count, int64_t group, __m512 sum) {
    constexpr int VECTORS_OF_GROUP = GROUP / LANES;
    __m512 x[VECTORS_OF_GROUP], largest = _mm512_set1_ps(1e-30f);
    for (int v = 0; v < VECTORS_OF_GROUP; v++) {
      x[v] = (__m512)load_some(from + v * LANES, count - v * LANES);
      largest = _mm512_max_ps(largest, _mm512_abs_ps(x[v]));
    }
    // In every lane, so that nothing waits for a single number.
    largest = _mm512_max_ps(largest, _mm512_shuffle_f32x4(largest, largest, 0x4e));
    largest = _mm512_max_ps(largest, _mm512_shuffle_f32x4(largest, largest, 0xb1));
    largest = _mm512_max_ps(largest, _mm512_permute_ps(largest, 0x4e));
    largest = _mm512_max_ps(largest, _mm512_permute_ps(largest, 0xb1));
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(127.0f), largest);
    const __m512 scale = _mm512_mul_ps(largest, _mm512_set1_ps(1.0f / 127.0f));
    __m512i rounded[VECTORS_OF_GROUP];
    for (int v = 0; v < VECTORS_OF_GROUP; v++)
      rounded[v] = _mm512_cvtps_epi32(_mm512_mul_ps(x[v], inverse));
    // Packing goes on in each quarter by itself: fours of bytes come out 4 apart.
    const __m512i packed = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        _mm512_packs_epi16(_mm512_packs_epi32(rounded[0], rounded[1]),
                           _mm512_packs_epi32(rounded[2], rounded[3])));
    _mm512_storeu_si512(bytes.get() + group * GROUP, packed);
    const __m512i whole =
        _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), packed);
    _mm_store_ss(scales.get() + group, _mm512_castps512_ps128(scale));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
  }
};

// M rows from row `first` on by V vectors of a panel: all, or the first where the others do not exist.
// Meanwhile some lines of each group of the next panel are fetched, from `next` on.
template <int M, int V, int FETCHED>
inline __attribute__((always_inline)) void block_of_bytes(
    const Rounded& x, int64_t first, const uint8_t* panel, const uint8_t* next,
    const float* scales, const float* bias, float* __restrict y, int64_t N, int64_t outputs,
    bool swoosh_l) {
  __m512 sums[M][V];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) sums[m][v] = _mm512_set1_ps(x.shifts[first + m]);
  const auto group = [&](int64_t g, int64_t inputs) __attribute__((always_inline)) {
    const int64_t at = first * x.groups + g;
    for (int line = 0; line < FETCHED; line++)
      __builtin_prefetch(next + g * GROUP * PANEL + 64 * line, 0, 2);
    __m512i products[M][V];
    for (int m = 0; m < M; m++)
      for (int v = 0; v < V; v++) products[m][v] = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int64_t k = 0; k < inputs; k += 4) {
      __m512i weights[V];
      for (int v = 0; v < V; v++)
        weights[v] = _mm512_loadu_si512(panel + (g * GROUP + k) * PANEL + 64 * v);
      for (int m = 0; m < M; m++) {
        int32_t four;
        __builtin_memcpy(&four, x.bytes.get() + (at + m * x.groups) * GROUP + k, 4);
        const __m512i factors = _mm512_set1_epi32(four);
        for (int v = 0; v < V; v++)
          products[m][v] = _mm512_dpbusd_epi32(products[m][v], weights[v], factors);
      }
    }
    for (int m = 0; m < M; m++)
      for (int v = 0; v < V; v++)
        sums[m][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[m][v]),
                                     _mm512_set1_ps(x.scales[at + m * x.groups]), sums[m][v]);
  };
  for (int64_t g = 0; g < x.whole_groups; g++) group(g, GROUP);
  if (x.whole_groups < x.groups) group(x.whole_groups, x.rest);
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) {
      const __m512 scaled = _mm512_fmadd_ps(sums[m][v], _mm512_loadu_ps(scales + 16 * v),
                                            _mm512_loadu_ps(bias + 16 * v));
      store_some(y + (first + m) * N + 16 * v, activated((Vector)scaled, swoosh_l),
                 outputs - 16 * v);
    }
}

#endif

}  // namespace
}  // namespace echostream

extern "C" {

// weights: the layer's, at its offset. swoosh_l: whether SwooshL follows.
void echostream_linear(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                       float* y, int swoosh_l, int threads) {
  using namespace echostream;
  const int64_t panels = (N + PANEL - 1) / PANEL;
  const float* bias = weights + panels * PANEL * K;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < panels; panel++) {
    for (int64_t n = panel * PANEL; n < N && n < (panel + 1) * PANEL; n += WIDTH)
      columns(x, M, K, weights + panel * PANEL * K + n % PANEL, bias + n, y + n, N, N - n, swoosh_l);
  }
}

// The same for weights in bytes: 0, or 1 where the processor has no instructions for it.
int echostream_linear_of_bytes(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                               float* y, int swoosh_l, int threads) {
#if defined(__AVX512VNNI__)
  using namespace echostream;
  const Rounded rounded(x, M, K);
  const int64_t panels = (N + PANEL - 1) / PANEL, inputs = (K + 3) / 4 * 4;
  const uint8_t* bytes = (const uint8_t*)weights;
  const float* scales = (const float*)(bytes + panels * PANEL * inputs);
  const float* bias = scales + panels * PANEL;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < panels; panel++) {
    const int64_t n = panel * PANEL;
    const uint8_t* own = bytes + n * inputs;
    int64_t m = 0;
    const auto rows = [&](auto run, int count, int64_t line) {
      run(rounded, m, own, own + PANEL * inputs + 64 * line, scales + n, bias + n, y + n, N, N - n,
          swoosh_l);
      m += count;
    };
    if (N - n <= LANES) {
      while (m + 8 <= M) rows(block_of_bytes<8, 1, 0>, 8, 0);
      if (m + 4 <= M) rows(block_of_bytes<4, 1, 0>, 4, 0);
      if (m + 2 <= M) rows(block_of_bytes<2, 1, 0>, 2, 0);
      if (m < M) rows(block_of_bytes<1, 1, 0>, 1, 0);
      continue;
    }
    // With 8 rows or more there is arithmetic enough to fetch the next panel meanwhile. With 16 or
    // more it is shared out, so that it is never waited for.
    if (M >= 32) {
      for (int line = 0; line < LINES; line += 4) rows(block_of_bytes<4, 2, 4>, 4, line);
    } else if (M >= 16) {
      for (int line = 0; line < LINES; line += 8) rows(block_of_bytes<4, 2, 8>, 4, line);
    } else if (M >= 8) {
      rows(block_of_bytes<8, 2, LINES>, 8, 0);
    }
    while (m + 4 <= M) rows(block_of_bytes<4, 2, 0>, 4, 0);
    if (m + 2 <= M) rows(block_of_bytes<2, 2, 0>, 2, 0);
    if (m < M) rows(block_of_bytes<1, 2, 0>, 1, 0);
  }
  return 0;
#else
  return 1;
#endif
}
}
