// Kaldi's log-mel filter bank: frames of samples to logarithms of energies.
//
// As many frames as the processor computes numbers at once are computed side by side, a frame in
// each lane, so each is the same bits wherever it stands. echostream/audio/fbank.py says what is
// computed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "operation.h"
#include "vector.h"

namespace echostream {
namespace {

constexpr int64_t LENGTH = 400, SHIFT = 160, MELS = 80;  // Samples of a frame, between two; bins.
constexpr int POINTS = 256;                              // Of half the transform.
constexpr float FULL_SCALE = 32768.0f, PRE_EMPHASIS = 0.97f, FLOOR = 1.1920929e-7f;

static_assert(LENGTH % LANES == 0 && MELS % LANES == 0, "whole vectors");

// Turns of the unit circle, and in which place a pair of samples is transformed.
struct Twiddles {
  float cosine[POINTS], sine[POINTS];  // Of k / 512 of a turn.
  int place[POINTS];

  Twiddles() {
    for (int k = 0; k < POINTS; k++) {
      cosine[k] = (float)std::cos(M_PI * k / POINTS);
      sine[k] = (float)std::sin(M_PI * k / POINTS);
      place[k] = 0;
      for (int bit = 1; bit < POINTS; bit *= 2) place[k] = place[k] * 2 + (k & bit ? 1 : 0);
    }
  }
};

const Twiddles TWIDDLES;

// log x of a positive normal number, to 1e-7 of the larger of 1 and the result.
inline Vector logarithm(Vector x) {
  // x = m 2^e, with m between the square roots of a half and of two.
  const int32_t half_root = 0x3f3504f3;
  IntVector bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const IntVector e = (bits - half_root) >> 23;
  bits -= e << 23;
  Vector m;
  std::memcpy(&m, &bits, sizeof(m));
  const Vector t = m - 1.0f;
  // (log(1 + t) - t + t^2 / 2) / t^3, a polynomial through its Chebyshev nodes.
  Vector q = t * -7.902743772e-2f + 1.262231985e-1f;
  q = q * t - 1.299818376e-1f;
  q = q * t + 1.421449592e-1f;
  q = q * t - 1.664128146e-1f;
  q = q * t + 2.000104509e-1f;
  q = q * t - 2.500030642e-1f;
  q = q * t + 3.333333073e-1f;
  const Vector exponent = __builtin_convertvector(e, Vector);
  return (q * t - 0.5f) * (t * t) + t + exponent * 1.42860677e-6f + exponent * 0.693145752f;
}

// Samples of the frames, without their mean, with pre-emphasis and window, as pairs in the order
// that the transform takes.
void windowed_frames(const float* signal, int64_t frames, const float* window, Vector* real, Vector* imag) {
  Vector samples[LENGTH], sums[4] = {};
  for (int64_t s = 0; s < LENGTH; s += LANES) {
    Vector block[LANES];
    for (int i = 0; i < LANES; i++)
      block[i] = i < frames ? load(signal + i * SHIFT + s) * FULL_SCALE : Vector{};
    transpose(block);
    for (int i = 0; i < LANES; i++) {
      samples[s + i] = block[i];
      sums[i % 4] += block[i];
    }
  }
  const Vector mean = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * (1.0f / LENGTH);
  // The sample before the first is taken to be the first.
  Vector before = samples[0] - mean;
  for (int pair = 0; pair < POINTS; pair++) {
    const int place = TWIDDLES.place[pair];
    real[place] = imag[place] = Vector{};
    if (2 * pair >= LENGTH) continue;
    const Vector first = samples[2 * pair] - mean, second = samples[2 * pair + 1] - mean;
    real[place] = (first - before * PRE_EMPHASIS) * window[2 * pair];
    imag[place] = (second - first * PRE_EMPHASIS) * window[2 * pair + 1];
    before = second;
  }
}

// Fourier transform in place, of numbers in bit-reversed order.
void transform(Vector* real, Vector* imag) {
  for (int half = 1; half < POINTS; half *= 2)
    for (int k = 0; k < half; k++) {
      const float cosine = TWIDDLES.cosine[POINTS / half * k], sine = TWIDDLES.sine[POINTS / half * k];
      for (int low = k; low < POINTS; low += 2 * half) {
        const int high = low + half;
        const Vector turned = real[high] * cosine + imag[high] * sine;
        const Vector other = imag[high] * cosine - real[high] * sine;
        real[high] = real[low] - turned;
        imag[high] = imag[low] - other;
        real[low] += turned;
        imag[low] += other;
      }
    }
}

// Power spectrum of the samples whose pairs were transformed: twice the real and the imaginary part
// are sums and differences of two points of the pairs' spectrum, one of them turned.
void power_spectrum(const Vector* real, const Vector* imag, Vector* power) {
  for (int k = 0; k < POINTS; k++) {
    const int other = (POINTS - k) % POINTS;
    const Vector even_real = real[k] + real[other], even_imag = imag[k] - imag[other];
    const Vector odd_real = imag[k] + imag[other], odd_imag = real[other] - real[k];
    const float cosine = TWIDDLES.cosine[k], sine = TWIDDLES.sine[k];
    const Vector x = even_real + odd_real * cosine + odd_imag * sine;
    const Vector y = even_imag + odd_imag * cosine - odd_real * sine;
    power[k] = (x * x + y * y) * 0.25f;
  }
}

}  // namespace
}  // namespace echostream

// signal: of `frames` frames. window: [400]. Bin m weighs counts[m] points of the power spectrum
// from point firsts[m] on, none beyond 255; weights: of all bins, one after the other. Result:
// [frames, 80].
OPERATION(log_mel,
          "(Tensor signal, int frames, Tensor window, Tensor firsts, Tensor counts, Tensor weights)"
          " -> Tensor",
          AtenTensorHandle given_signal, int64_t frames, AtenTensorHandle given_window,
          AtenTensorHandle given_firsts, AtenTensorHandle given_counts,
          AtenTensorHandle given_weights) {
  using namespace echostream;
  const Dense signal(given_signal), window(given_window), weights(given_weights);
  const int64_t *firsts = integers(given_firsts), *counts = integers(given_counts);
  float* features = make(result, {frames, MELS});
  Vector real[POINTS], imag[POINTS], power[POINTS], mels[LANES];
  for (int64_t frame = 0; frame < frames; frame += LANES) {
    const int64_t count = std::min<int64_t>(frames - frame, LANES);
    windowed_frames(signal.data() + frame * SHIFT, count, window.data(), real, imag);
    transform(real, imag);
    power_spectrum(real, imag, power);
    const float* weight = weights.data();
    for (int64_t mel = 0; mel < MELS; mel++) {
      Vector energy = {};
      for (int64_t point = firsts[mel]; point < firsts[mel] + counts[mel]; point++)
        energy += power[point] * *weight++;
      mels[mel % LANES] = logarithm(energy > FLOOR ? energy : Vector{} + FLOOR);
      if (mel % LANES == LANES - 1) {
        transpose(mels);
        for (int64_t i = 0; i < count; i++)
          store(features + (frame + i) * MELS + mel + 1 - LANES, mels[i]);
      }
    }
  }
  return 0;
}
