// Linear layers of a few rows: y[M, N] = x[M, K] W + b, with W laid out in the order it is read in.
//
// M rows (frames of a chunk), K inputs, N outputs. A streaming encoder multiplies 2 to 16 rows by
// every weight it has, so what counts is to read the weights once, straight through, at the speed
// of the memory, and to do all that is to be done with each while it is in a register. W lies in
// panels of PANEL outputs, [N / PANEL][K][PANEL], the last one filled up with zeros, and after them
// the bias, filled up alike (see panels.py).
//
// With int8 weights a panel is bytes, [K / 4][PANEL][4], and the inputs are rounded to bytes as they
// come, GROUP of a row with one scale. The processor adds four products of bytes at a time.
//
// Sums run over k in order, whatever M is, so a row gives the same bits alone and among others.

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cmath>
#include <cstdint>
#include <vector>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t PANEL = 32;

#if defined(__AVX512F__)
// 8 rows of 2 vectors are 16 sums in 32 registers: enough to hide the latency of each.
constexpr int LANES = 16, ROWS = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 4;
#else
constexpr int LANES = 4, ROWS = 4;
#endif
constexpr int VECTORS = 2;
constexpr int64_t WIDTH = LANES * VECTORS;

typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

// With 8 rows the arithmetic fills the processor's window, and it no longer runs into the next page
// of memory by itself early enough. With fewer rows it does, and is slowed by such hints.
constexpr int64_t AHEAD = 3072;

// Of the graphs that a thread runs.
thread_local int graph_threads = 1;

// M rows by WIDTH columns of a panel; `outputs` of them exist.
template <int M>
inline __attribute__((always_inline)) void block(
    const float* __restrict x, int64_t K, const float* __restrict panel,
    const float* __restrict bias, float* __restrict y, int64_t N, int64_t outputs) {
  Vector sums[M][VECTORS];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < VECTORS; v++) sums[m][v] = *(const Vector*)(bias + LANES * v);
#pragma GCC unroll 4
  for (int64_t k = 0; k < K; k++) {
    if (M >= 8)
      for (int v = 0; v < VECTORS; v++)
        __builtin_prefetch(panel + k * PANEL + LANES * v + AHEAD, 0, 2);
    Vector weights[VECTORS];
    for (int v = 0; v < VECTORS; v++)
      weights[v] = *(const Vector*)(panel + k * PANEL + LANES * v);
    for (int m = 0; m < M; m++)
      for (int v = 0; v < VECTORS; v++) sums[m][v] += x[m * K + k] * weights[v];
  }
  for (int m = 0; m < M; m++) {
    if (outputs >= WIDTH) {
      for (int v = 0; v < VECTORS; v++) *(Vector*)(y + m * N + LANES * v) = sums[m][v];
    } else {
      for (int64_t n = 0; n < outputs; n++) y[m * N + n] = sums[m][n / LANES][n % LANES];
    }
  }
}

void columns(const float* x, int64_t M, int64_t K, const float* panel, const float* bias, float* y,
             int64_t N, int64_t outputs) {
  int64_t m = 0;
  const auto rows = [&](auto run, int count) {
    run(x + m * K, K, panel, bias, y + m * N, N, outputs);
    m += count;
  };
  while (m + ROWS <= M) rows(block<ROWS>, ROWS);
  if (ROWS > 4 && m + 4 <= M) rows(block<4>, 4);
  if (m + 2 <= M) rows(block<2>, 2);
  if (m < M) rows(block<1>, 1);
}

// What a graph gives, as the functions below take it.
struct Call {
  const float *from, *by;
  float* to;
  int64_t rows, inputs;

  AOTITorchError prepare(AtenTensorHandle x, AtenTensorHandle weights, int64_t offset,
                         int64_t outputs, AtenTensorHandle* result) {
    void *x_data, *weights_data, *result_data;
    if (aoti_torch_get_size(x, 0, &rows) || aoti_torch_get_size(x, 1, &inputs)) return 1;
    const int64_t sizes[] = {rows, outputs}, strides[] = {outputs, 1};
    if (aoti_torch_empty_strided(2, sizes, strides, aoti_torch_dtype_float32(),
                                 aoti_torch_device_type_cpu(), 0, result))
      return 1;
    if (aoti_torch_get_data_ptr(x, &x_data) || aoti_torch_get_data_ptr(weights, &weights_data) ||
        aoti_torch_get_data_ptr(*result, &result_data))
      return 1;
    from = (const float*)x_data;
    by = (const float*)weights_data + offset;
    to = (float*)result_data;
    return 0;
  }
};

#if defined(__AVX512VNNI__)

constexpr int64_t GROUP = 64;

// Rows of bytes, filled up with zeros to whole groups.
struct Rounded {
  int64_t groups;
  std::vector<int8_t> bytes;
  std::vector<float> scales;  // [M, groups]
  // Weights are stored as w + 128, because of two bytes that are multiplied one must be unsigned.
  // So sums start at -128 times the sum of the inputs.
  std::vector<int32_t> starts;  // [M, groups]

  Rounded(const float* x, int64_t M, int64_t K)
      : groups((K + GROUP - 1) / GROUP),
        bytes(M * groups * GROUP),
        scales(M * groups),
        starts(M * groups) {
    for (int64_t m = 0; m < M; m++)
      for (int64_t g = 0; g < groups; g++) {
        const float* from = x + m * K + g * GROUP;
        int8_t* to = bytes.data() + (m * groups + g) * GROUP;
        const int64_t count = K - g * GROUP < GROUP ? K - g * GROUP : GROUP;
        float largest = 1e-30f;
#pragma omp simd reduction(max : largest)
        for (int64_t k = 0; k < count; k++) {
          const float size = std::fabs(from[k]);
          largest = size > largest ? size : largest;
        }
        const float inverse = 127.0f / largest;
        int32_t sum = 0;
        for (int64_t k = 0; k < count; k++) {
          const int32_t value = (int32_t)std::nearbyintf(from[k] * inverse);
          to[k] = (int8_t)value;
          sum += value;
        }
        scales[m * groups + g] = largest / 127.0f;
        starts[m * groups + g] = -128 * sum;
      }
  }
};

// M rows from row `first` on by a whole panel.
template <int M>
inline __attribute__((always_inline)) void block_of_bytes(
    const Rounded& x, int64_t first, const uint8_t* panel, const float* scales, const float* bias,
    float* __restrict y, int64_t N, int64_t outputs) {
  __m512 sums[M][2] = {};
  for (int64_t g = 0; g < x.groups; g++) {
    const int64_t at = first * x.groups + g;
    __m512i products[M][2];
    for (int m = 0; m < M; m++)
      products[m][0] = products[m][1] = _mm512_set1_epi32(x.starts[at + m * x.groups]);
    for (int64_t k = 0; k < GROUP; k += 4) {
      const uint8_t* weights = panel + (g * GROUP + k) * PANEL;
      const __m512i low = _mm512_loadu_si512(weights), high = _mm512_loadu_si512(weights + 64);
      for (int m = 0; m < M; m++) {
        int32_t four;
        __builtin_memcpy(&four, x.bytes.data() + (at + m * x.groups) * GROUP + k, 4);
        const __m512i inputs = _mm512_set1_epi32(four);
        products[m][0] = _mm512_dpbusd_epi32(products[m][0], low, inputs);
        products[m][1] = _mm512_dpbusd_epi32(products[m][1], high, inputs);
      }
    }
    for (int m = 0; m < M; m++)
      for (int v = 0; v < 2; v++)
        sums[m][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[m][v]),
                                     _mm512_set1_ps(x.scales[at + m * x.groups]), sums[m][v]);
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < 2; v++) {
      const int64_t here = outputs - 16 * v;
      const __mmask16 exists = here >= 16 ? 0xffff : here <= 0 ? 0 : (1 << here) - 1;
      const __m512 scaled = _mm512_fmadd_ps(sums[m][v], _mm512_loadu_ps(scales + 16 * v),
                                            _mm512_loadu_ps(bias + 16 * v));
      _mm512_mask_storeu_ps(y + (first + m) * N + 16 * v, exists, scaled);
    }
}

#endif

}  // namespace

extern "C" {

// weights: the layer's, at its offset.
void echostream_linear(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                       float* y, int threads) {
  const int64_t panels = (N + PANEL - 1) / PANEL;
  const float* bias = weights + panels * PANEL * K;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < panels; panel++) {
    for (int64_t n = panel * PANEL; n < N && n < (panel + 1) * PANEL; n += WIDTH)
      columns(x, M, K, weights + panel * PANEL * K + n % PANEL, bias + n, y + n, N, N - n);
  }
}


// Of the graphs that the calling thread runs from now on.
void echostream_set_graph_threads(int count) { graph_threads = count; }

// The same for weights in bytes: 0, or 1 where the processor has no instructions for it.
int echostream_linear_of_bytes(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                               float* y, int threads) {
#if defined(__AVX512VNNI__)
  const Rounded rows(x, M, K);
  const int64_t panels = (N + PANEL - 1) / PANEL, inputs = rows.groups * GROUP;
  const uint8_t* bytes = (const uint8_t*)weights;
  const float* scales = (const float*)(bytes + panels * PANEL * inputs);
  const float* bias = scales + panels * PANEL;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < panels; panel++) {
    const int64_t n = panel * PANEL;
    const auto run = [&](auto block, int64_t first) {
      block(rows, first, bytes + n * inputs, scales + n, bias + n, y + n, N, N - n);
    };
    int64_t m = 0;
    for (; m + 4 <= M; m += 4) run(block_of_bytes<4>, m);
    if (m + 2 <= M) {
      run(block_of_bytes<2>, m);
      m += 2;
    }
    if (m < M) run(block_of_bytes<1>, m);
  }
  return 0;
#else
  return 1;
#endif
}

AOTITorchError aoti_torch_cpu_panel_linear(AtenTensorHandle x, AtenTensorHandle weights,
                                           int64_t offset, int64_t outputs,
                                           AtenTensorHandle* result) {
  Call call;
  if (call.prepare(x, weights, offset, outputs, result)) return 1;
  echostream_linear(call.from, call.rows, call.inputs, call.by, outputs, call.to, graph_threads);
  return 0;
}

AOTITorchError aoti_torch_cpu_panel_linear_of_bytes(AtenTensorHandle x, AtenTensorHandle weights,
                                                    int64_t offset, int64_t outputs,
                                                    AtenTensorHandle* result) {
  Call call;
  if (call.prepare(x, weights, offset, outputs, result)) return 1;
  return echostream_linear_of_bytes(call.from, call.rows, call.inputs, call.by, outputs, call.to,
                                    graph_threads);
}
}
