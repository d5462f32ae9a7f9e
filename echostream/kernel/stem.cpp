// The stem: three 3x3 convolutions over (time, mel bin), and SwooshR of each.
//
// B streams, T feature frames, F mel bins; of a convolution: I numbers of a bin that come in and N
// that go out. None is padded in time, all are padded with a bin of zeros at either end. The second
// takes every other frame and bin, the third every other bin.
//
// A stream's pictures stay in the cache from one convolution to the next, and streams are computed
// one after the other, so each gives the same bits alone and among others.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "vector.h"

namespace echostream {
namespace {

// 8 bins of 2 vectors are 16 sums in 32 registers: enough to hide the latency of each.
constexpr int BINS = LANES == 16 ? 8 : 4;

struct Convolution {
  const float* panels;  // As of a linear layer of [3][3][I], frames and bins, to [N].
  int64_t I, N;
  int64_t frame_stride, bin_stride;
};

// [frames][bins][channels], with a bin of zeros at either end.
struct Picture {
  int64_t frames, bins, channels;
  std::vector<float> numbers;

  Picture(int64_t frames, int64_t bins, int64_t channels)
      : frames(frames), bins(bins), channels(channels), numbers(frames * row()) {}

  // What the convolution of a picture makes.
  Picture(const Picture& x, const Convolution& c)
      : Picture((x.frames - 3) / c.frame_stride + 1, (x.bins - 1) / c.bin_stride + 1, c.N) {}

  int64_t row() const { return (bins + 2) * channels; }

  // From the bin of zeros on.
  const float* frame(int64_t t) const { return numbers.data() + t * row(); }
  float* frame(int64_t t) { return numbers.data() + t * row(); }
};

// M neighbouring bins of a frame, V vectors of outputs from output `n` on.
template <int M, int V>
inline __attribute__((always_inline)) void convolve(const float* x, int64_t row,
                                                    const Convolution& c, int64_t n, float* y) {
  const int64_t step = c.bin_stride * c.I, inputs = 9 * c.I;
  const float* taps = c.panels + n / PANEL * PANEL * inputs + n % PANEL;
  const float* bias = c.panels + (c.N + PANEL - 1) / PANEL * PANEL * inputs + n;
  Vector sums[M][V];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) sums[m][v] = load(bias + LANES * v);
  for (int frame = 0; frame < 3; frame++, x += row)
#pragma GCC unroll 4
    for (int64_t k = 0; k < 3 * c.I; k++, taps += PANEL) {
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

void convolve(const Picture& x, const Convolution& c, Picture& y, int threads) {
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
        while (bin + BINS <= y.bins) bins(convolve<BINS, 2>, BINS);
        while (bin + 2 <= y.bins) bins(convolve<2, 2>, 2);
        if (bin < y.bins) bins(convolve<1, 2>, 1);
      } else {
        while (bin + BINS <= y.bins) bins(convolve<BINS, 1>, BINS);
        while (bin + 2 <= y.bins) bins(convolve<2, 1>, 2);
        if (bin < y.bins) bins(convolve<1, 1>, 1);
      }
    }
}

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

}  // namespace
}  // namespace echostream

extern "C" {

// features: [B, T, F]. layers: the three convolutions, each laid out as a linear layer of its 3 frames
// of 3 bins of I. outputs: N of each. y: [B, frames, N bins], of each frame the bins of one output
// after the other.
void echostream_stem(const float* features, int64_t B, int64_t T, int64_t F,
                     const float* const* layers, const int64_t* outputs, float* y, int threads) {
  using namespace echostream;
  const Convolution first{layers[0], 1, outputs[0], 1, 1};
  const Convolution second{layers[1], outputs[0], outputs[1], 2, 2};
  const Convolution third{layers[2], outputs[1], outputs[2], 1, 2};
  Picture given(T, F, 1);
  Picture one(given, first), two(one, second), three(two, third);
  const int64_t frame = three.bins * three.channels;
  for (int64_t b = 0; b < B; b++) {
    for (int64_t t = 0; t < T; t++)
      std::copy_n(features + (b * T + t) * F, F, given.frame(t) + 1);
    convolve(given, first, one, threads);
    convolve(one, second, two, threads);
    convolve(two, third, three, threads);
    for (int64_t t = 0; t < three.frames; t++)
      channels_first(three.frame(t) + three.channels, three.bins, three.channels,
                     y + (b * three.frames + t) * frame);
  }
}
}
