// Depthwise convolution of the frames of one chunk and what was before them, and SwooshR of it.
//
// B streams, S frames of a chunk, h frames before it, K taps, C channels.

#include <algorithm>
#include <cstdint>

#include "operation.h"
#include "vector.h"

namespace echostream {
namespace {

// M frames of LANES channels. window: [frames][LANES]. taps: [K][LANES].
template <int M>
void convolve(const float* window, const float* taps, int64_t K, int64_t C, Vector bias,
              int64_t count, float* y) {
  Vector sums[M];
  for (int m = 0; m < M; m++) sums[m] = bias;
  for (int64_t k = 0; k < K; k++) {
    const Vector tap = load(taps + k * LANES);
    for (int m = 0; m < M; m++) sums[m] += tap * load(window + (m + k) * LANES);
  }
  for (int m = 0; m < M; m++)
    store_some(y + m * C, swoosh(sums[m], 1.0f, SWOOSH_R_OFFSET), count);
}

}  // namespace
}  // namespace echostream

// past: [B, h, C]. x and the result: [B, S, C]. taps: [K, C], of which the first h + 1 are for the past
// and the frame itself, the others for frames that follow; those beyond the chunk count as zero.
OPERATION(depthwise_swoosh, "(Tensor past, Tensor x, Tensor taps, Tensor bias) -> Tensor",
          AtenTensorHandle given_past, AtenTensorHandle given_x, AtenTensorHandle given_taps,
          AtenTensorHandle given_bias) {
  using namespace echostream;
  const Dense past_tensor(given_past), x_tensor(given_x), taps_tensor(given_taps);
  const Dense bias_tensor(given_bias);
  const float *past = past_tensor.data(), *x = x_tensor.data(), *taps = taps_tensor.data();
  const float* bias = bias_tensor.data();
  const int64_t B = x_tensor.size(0), S = x_tensor.size(1), C = x_tensor.size(2);
  const int64_t h = past_tensor.size(1), K = taps_tensor.size(0);
  float* y = make(result, {B, S, C});
  const int64_t frames = S + K - 1, blocks = (C + LANES - 1) / LANES;
  // After the chunk's last frame the window stays zero.
  AlignedBuffer window(std::max(frames, h + S) * LANES), own(blocks * K * LANES);
  const auto frame = [&](int64_t at) { return window.data() + at * LANES; };
  const auto taps_of = [&](int64_t c) { return own.data() + c * K; };
  for (int64_t c = 0; c < C; c += LANES)
    for (int64_t k = 0; k < K; k++)
      store(taps_of(c) + k * LANES, load_some(taps + k * C + c, C - c));
  for (int64_t b = 0; b < B; b++)
    for (int64_t c = 0; c < C; c += LANES) {
      const int64_t count = std::min<int64_t>(C - c, LANES);
      for (int64_t p = 0; p < h; p++) {
        __builtin_prefetch(past + ((b + 1) * h + p) * C + c, 0, 2);  // For the next stream.
        store(frame(p), load_some(past + (b * h + p) * C + c, count));
      }
      for (int64_t s = 0; s < S; s++)
        store(frame(h + s), load_some(x + (b * S + s) * C + c, count));
      const Vector start = load_some(bias + c, count);
      const auto rows = [&](auto run, int64_t s) {
        // Later taps of these rows only find zeros.
        run(frame(s), taps_of(c), std::min(K, h + S - s), C, start, count, y + (b * S + s) * C + c);
      };
      int64_t s = 0;
      for (; s + 8 <= S; s += 8) rows(convolve<8>, s);
      for (; s + 2 <= S; s += 2) rows(convolve<2>, s);
      for (; s < S; s++) rows(convolve<1>, s);
    }
  return 0;
}
