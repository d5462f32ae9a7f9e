// The stem: three 3x3 convolutions over (time, mel bin), and SwooshR of each.
//
// B streams, T feature frames, F mel bins; of a convolution I input and N output channels. Each is
// padded with one zero bin at either end, and not in time. The second has stride 2 in time and bins, the
// third in bins.
//
// With int8 weights the second and third convolution round their inputs to int8, each frame with one
// scale, so a frame gives the same bits in every chunk.
//
// Streams are computed one after the other: their feature maps stay in the cache from one convolution to
// the next, and a stream gives the same bits alone and in a batch.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "operation.h"
#include "packed_weights.h"
#include "quantised_rows.h"
#include "vector.h"

namespace echostream {
namespace {

// 8 bins of 2 vectors are 16 sums in 32 registers: enough to hide the latency of each.
constexpr int BINS = LANES == 16 ? 8 : 4;

struct Convolution {
  const float* packed;  // As of a linear layer of [3][3][I], frames and bins, to [N].
  int64_t I, N;
  int64_t frame_stride, bin_stride;
};

// [frames][bins][channels], with a bin of zeros at either end.
struct FeatureMap {
  int64_t frames, bins, channels;
  AlignedBuffer numbers;

  FeatureMap(int64_t frames, int64_t bins, int64_t channels)
      : frames(frames), bins(bins), channels(channels), numbers(frames * row()) {}

  // The result of convolution `c` of `x`.
  template <typename Any>
  FeatureMap(const FeatureMap& x, const Any& c)
      : FeatureMap((x.frames - 3) / c.frame_stride + 1, (x.bins - 1) / c.bin_stride + 1, c.N) {}

  int64_t row() const { return (bins + 2) * channels; }

  // Begins with the zero bin.
  const float* frame(int64_t t) const { return numbers.data() + t * row(); }
  float* frame(int64_t t) { return numbers.data() + t * row(); }
};

// M neighbouring bins of a frame, V vectors of outputs from output `n` on.
template <int M, int V>
inline __attribute__((always_inline)) void convolve_bins(const float* x, int64_t row,
                                                         const Convolution& c, int64_t n,
                                                         float* y) {
  const int64_t step = c.bin_stride * c.I, inputs = 9 * c.I;
  const float* taps = c.packed + n / TILE * TILE * inputs + n % TILE;
  const float* bias = c.packed + (c.N + TILE - 1) / TILE * TILE * inputs + n;
  Vector sums[M][V];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) sums[m][v] = load(bias + LANES * v);
  for (int frame = 0; frame < 3; frame++, x += row)
#pragma GCC unroll 4
    for (int64_t k = 0; k < 3 * c.I; k++, taps += TILE) {
      Vector weights[V];
      for (int v = 0; v < V; v++) weights[v] = load(taps + LANES * v);
      for (int m = 0; m < M; m++)
        for (int v = 0; v < V; v++) sums[m][v] += x[m * step + k] * weights[v];
    }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++)
      store_some(y + m * c.N + n + LANES * v, swoosh(sums[m][v], 1.0f, SWOOSH_R_OFFSET),
                 c.N - n - LANES * v);
}

// Of a feature map with one number a bin, where bins lie side by side: LANES of them, all outputs.
inline void convolve_single(const float* x, int64_t row, int64_t bins, const Convolution& c,
                            float* y) {
  constexpr int OUTPUTS = LANES < 8 ? LANES : 8;
  const float* bias = c.packed + (c.N + TILE - 1) / TILE * TILE * 9;
  for (int64_t n = 0; n < c.N; n += OUTPUTS) {
    const float* taps = c.packed + n / TILE * TILE * 9 + n % TILE;
    Vector sums[LANES];
    for (int i = 0; i < LANES; i++) sums[i] = i < OUTPUTS ? Vector{} + bias[n + i] : Vector{};
#pragma GCC unroll 3
    for (int frame = 0; frame < 3; frame++)
#pragma GCC unroll 3
      for (int k = 0; k < 3; k++) {
        const Vector numbers = load_some(x + frame * row + k, bins + 2 - k);
        for (int i = 0; i < OUTPUTS; i++) sums[i] += numbers * taps[(3 * frame + k) * TILE + i];
      }
    for (int i = 0; i < OUTPUTS; i++) sums[i] = swoosh(sums[i], 1.0f, SWOOSH_R_OFFSET);
    transpose(sums);
    for (int i = 0; i < LANES && i < bins; i++)
      store_some(y + i * c.N + n, sums[i], std::min<int64_t>(c.N - n, OUTPUTS));
  }
}

void convolve_single(const FeatureMap& x, const Convolution& c, FeatureMap& y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t t = 0; t < y.frames; t++)
    for (int64_t bin = 0; bin < y.bins; bin += LANES)
      convolve_single(x.frame(t) + bin, x.row(), y.bins - bin, c, y.frame(t) + (1 + bin) * c.N);
}

void convolve(const FeatureMap& x, const Convolution& c, FeatureMap& y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t t = 0; t < y.frames; t++)
    for (int64_t n = 0; n < c.N; n += 2 * LANES) {
      int64_t bin = 0;
      const auto bins = [&](auto run, int count) {
        run(x.frame(t * c.frame_stride) + bin * c.bin_stride * c.I, x.row(), c, n,
            y.frame(t) + (1 + bin) * c.N);
        bin += count;
      };
      if (c.N - n > LANES) {
        while (bin + BINS <= y.bins) bins(convolve_bins<BINS, 2>, BINS);
        while (bin + 2 <= y.bins) bins(convolve_bins<2, 2>, 2);
        if (bin < y.bins) bins(convolve_bins<1, 2>, 1);
      } else {
        while (bin + BINS <= y.bins) bins(convolve_bins<BINS, 1>, BINS);
        while (bin + 2 <= y.bins) bins(convolve_bins<2, 1>, 2);
        if (bin < y.bins) bins(convolve_bins<1, 1>, 1);
      }
    }
}

#if defined(__AVX512VNNI__)

// A convolution in int8; I is a multiple of four. One factor of an int8 product must be unsigned: here
// it is the input, plus 128, since that adds the same to the sums of all bins.
struct ConvolutionInt8 {
  // Of LANES outputs.
  struct alignas(64) Weights {
    int8_t of[LANES][4];
  };
  struct alignas(64) Sums {
    int32_t of[LANES];
  };

  int64_t I, N, frame_stride, bin_stride;
  int64_t groups;                // Of LANES outputs, with those that fill up the last tile.
  std::vector<Weights> weights;  // [packed][9 I / 4][TILE / LANES]
  // What the sums of each frame of taps begin with, to take those 128 away.
  std::vector<Sums> starts;  // [3][groups]
  const float *scales, *bias;

  // packed: as an int8 linear layer.
  ConvolutionInt8(const float* packed, int64_t I, int64_t N, int64_t frame_stride,
                     int64_t bin_stride)
      : I(I),
        N(N),
        frame_stride(frame_stride),
        bin_stride(bin_stride),
        groups((N + TILE - 1) / TILE * (TILE / LANES)),
        weights(9 * I / 4 * groups),
        starts(3 * groups),
        scales(packed + weights.size() * LANES),
        bias(scales + groups * LANES) {
    const __m512i ones = _mm512_set1_epi8(1), lowest = _mm512_set1_epi8(-128);
    auto* stored = (const __m512i*)packed;
    auto* to = (__m512i*)weights.data();
    auto* sums = (__m512i*)starts.data();
    for (int64_t tile = 0; tile < groups; tile += TILE / LANES)
      for (int64_t four = 0; four < 9 * I / 4; four++)
        for (int64_t group = tile; group < tile + TILE / LANES; group++) {
          *to = _mm512_xor_si512(_mm512_loadu_si512(stored++), lowest);
          __m512i& start = sums[four / (3 * I / 4) * groups + group];
          const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, *to++);
          start = _mm512_sub_epi32(start, _mm512_slli_epi32(sum, 7));
        }
  }
};

// The same in int8, of three frames with a scale each.
template <int M, int V>
inline __attribute__((always_inline)) void convolve_bins_int8(
    const int8_t* x, int64_t row, const float* scales, const ConvolutionInt8& c, int64_t n,
    float* y) {
  const int64_t step = c.bin_stride * c.I;
  auto* taps = (const __m512i*)c.weights.data() + n / LANES * (9 * c.I / 4);
  auto* starts = (const __m512i*)c.starts.data() + n / LANES;
  __m512 sums[M][V] = {};
  for (int frame = 0; frame < 3; frame++, x += row, starts += c.groups) {
    __m512i products[M][V];
    for (int m = 0; m < M; m++)
      for (int v = 0; v < V; v++)
        products[m][v] = starts[v];
#pragma GCC unroll 6
    for (int64_t k = 0; k < 3 * c.I; k += 4, taps += TILE / LANES) {
      __m512i weights[V];
      for (int v = 0; v < V; v++) weights[v] = taps[v];
      for (int m = 0; m < M; m++) {
        int32_t four;
        __builtin_memcpy(&four, x + m * step + k, 4);
        const __m512i factors = _mm512_set1_epi32(four);
        for (int v = 0; v < V; v++)
          products[m][v] = _mm512_dpbusd_epi32(products[m][v], factors, weights[v]);
      }
    }
    const __m512 scale = _mm512_set1_ps(scales[frame]);
    for (int m = 0; m < M; m++)
      for (int v = 0; v < V; v++)
        sums[m][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[m][v]), scale, sums[m][v]);
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) {
      const __m512 sum = _mm512_fmadd_ps(sums[m][v], _mm512_loadu_ps(c.scales + n + LANES * v),
                                         _mm512_loadu_ps(c.bias + n + LANES * v));
      store_some(y + m * c.N + n + LANES * v, swoosh((Vector)sum, 1.0f, SWOOSH_R_OFFSET),
                 c.N - n - LANES * v);
    }
}

void convolve(const FeatureMap& x, const ConvolutionInt8& c, FeatureMap& y, int threads) {
  QuantisedRows rounded(x.frame(0), x.frames, x.row());
  rounded.make_unsigned(x.frames);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t t = 0; t < y.frames; t++)
    for (int64_t n = 0; n < c.N; n += 2 * LANES) {
      int64_t bin = 0;
      const auto bins = [&](auto run, int count) {
        const int64_t first = t * c.frame_stride;
        run(rounded.row(first) + bin * c.bin_stride * c.I, rounded.stride, &rounded.scales[first], c,
            n, y.frame(t) + (1 + bin) * c.N);
        bin += count;
      };
      while (bin + 4 <= y.bins) bins(convolve_bins_int8<4, 2>, 4);
      while (bin < y.bins) bins(convolve_bins_int8<1, 2>, 1);
    }
}

#endif

// [bins][channels] as [channels][bins].
void channels_first(const float* x, int64_t bins, int64_t channels, float* y) {
  for (int64_t bin = 0; bin < bins; bin += LANES)
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector block[LANES];
      for (int i = 0; i < LANES; i++)
        block[i] = bin + i < bins ? load_some(x + (bin + i) * channels + c, channels - c) : Vector{};
      transpose(block);
      for (int i = 0; i < LANES && c + i < channels; i++)
        store_some(y + (c + i) * bins + bin, block[i], bins - bin);
    }
}

template <typename Others>
AOTITorchError stem(AtenTensorHandle given_features, const AtenTensorHandle* given_layers,
                    int64_t layer_count, const int64_t* outputs, AtenTensorHandle* result) {
  const Dense features(given_features);
  const DenseList layers(given_layers, layer_count);
  const int64_t B = features.size(0), T = features.size(1), F = features.size(2);
  const Convolution first{layers.data[0], 1, outputs[0], 1, 1};
  const Others second{layers.data[1], outputs[0], outputs[1], 2, 2};
  const Others third{layers.data[2], outputs[1], outputs[2], 1, 2};
  FeatureMap given(T, F, 1);
  FeatureMap one(given, first), two(one, second), three(two, third);
  const int64_t frame = three.bins * three.channels;
  float* y = make(result, {B, three.frames, frame});
  const int count = threads();
  for (int64_t b = 0; b < B; b++) {
    for (int64_t t = 0; t < T; t++)
      std::copy_n(features.data() + (b * T + t) * F, F, given.frame(t) + 1);
    convolve_single(given, first, one, count);
    convolve(one, second, two, count);
    convolve(two, third, three, count);
    for (int64_t t = 0; t < three.frames; t++)
      channels_first(three.frame(t) + three.channels, three.bins, three.channels,
                     y + (b * three.frames + t) * frame);
  }
  return 0;
}

}  // namespace
}  // namespace echostream

// features: [B, T, F]. layers: the three convolutions, each packed as a linear layer of its 3 frames of 3
// bins of I. outputs: N of each. Result: [B, frames, N bins], of each frame the bins of one output after
// the other.
OPERATION(stem, "(Tensor features, Tensor[] layers, int[] outputs) -> Tensor",
          AtenTensorHandle features, const AtenTensorHandle* layers, int64_t layer_count,
          const int64_t* outputs, int64_t) {
  using namespace echostream;
  return echostream::stem<Convolution>(features, layers, layer_count, outputs, result);
}

// The same with int8 weights in the second and third layer, whose inputs are multiples of four.
OPERATION(stem_int8, "(Tensor features, Tensor[] layers, int[] outputs) -> Tensor",
          AtenTensorHandle features, const AtenTensorHandle* layers, int64_t layer_count,
          const int64_t* outputs, int64_t) {
#if defined(__AVX512VNNI__)
  using namespace echostream;
  return echostream::stem<ConvolutionInt8>(features, layers, layer_count, outputs, result);
#else
  throw std::runtime_error("this processor has no instructions for int8 weights (AVX512-VNNI)");
#endif
}
