// Linear layers of a few rows: y[M, N] = x[M, K] W + b, with W laid out in the order it is read in.
//
// M rows (frames of a chunk), K inputs, N outputs. A streaming encoder multiplies 2 to 16 rows by
// every weight it has, so what counts is to read the weights once, straight through, at the speed
// of the memory, and to do all that is to be done with each while it is in a register. W lies in
// panels of PANEL outputs, [N / PANEL][K][PANEL], the last one filled up with zeros, and after them
// the bias, filled up alike (see panel_linear.py).
//
// Sums run over k in order, whatever M is, so a row gives the same bits alone and among others.

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdint>

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

thread_local int threads = 1;

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

}  // namespace

extern "C" {

// weights: the layer's, at its offset.
void echostream_linear(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                       float* y) {
  const int64_t panels = (N + PANEL - 1) / PANEL;
  const float* bias = weights + panels * PANEL * K;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < panels; panel++) {
    for (int64_t n = panel * PANEL; n < N && n < (panel + 1) * PANEL; n += WIDTH)
      columns(x, M, K, weights + panel * PANEL * K + n % PANEL, bias + n, y + n, N, N - n);
  }
}


// Of the calls that the calling thread makes from now on.
void echostream_linear_threads(int count) { threads = count; }

AOTITorchError aoti_torch_cpu_panel_linear(AtenTensorHandle x, AtenTensorHandle weights,
                                           int64_t offset, int64_t outputs,
                                           AtenTensorHandle* result) {
  void *from, *by, *to;
  int64_t rows, inputs;
  if (aoti_torch_get_size(x, 0, &rows) || aoti_torch_get_size(x, 1, &inputs)) return 1;
  const int64_t sizes[] = {rows, outputs}, strides[] = {outputs, 1};
  if (aoti_torch_empty_strided(2, sizes, strides, aoti_torch_dtype_float32(),
                               aoti_torch_device_type_cpu(), 0, result))
    return 1;
  if (aoti_torch_get_data_ptr(x, &from) || aoti_torch_get_data_ptr(weights, &by) ||
      aoti_torch_get_data_ptr(*result, &to))
    return 1;
  echostream_linear((const float*)from, rows, inputs, (const float*)by + offset, outputs,
                    (float*)to);
  return 0;
}
}
