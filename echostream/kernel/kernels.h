// The kernels, as graphs and Python call them; each is described where it is defined.

#pragma once

#include <cstdint>

namespace echostream {

// Outputs that lie side by side in the weights of a layer (see packed_weights.py).
constexpr int64_t TILE = 32;

}  // namespace echostream

extern "C" {

int echostream_linear(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                      int swoosh_l, const float* addend, float* y, int threads);

int echostream_linear_int8(const float* x, int64_t M, int64_t K, const float* weights, int64_t N,
                               int swoosh_l, const float* addend, float* y, int threads);

void echostream_attention_weights(const float* projected, const float* const* past, int64_t blocks,
                                  const float* positions, const float* mask, int64_t B, int64_t S,
                                  int64_t P, int64_t H, int64_t D, int64_t E, float* weights);

void echostream_attention_mix(const float* weights, const float* const* past, int64_t blocks,
                              const float* values, int64_t B, int64_t G, int64_t S, int64_t P,
                              int64_t H, int64_t V, float* mixed);

void echostream_depthwise_swoosh(const float* past, const float* x, const float* taps,
                                 const float* bias, int64_t B, int64_t S, int64_t h, int64_t K,
                                 int64_t C, float* y);

void echostream_stem(const float* features, int64_t B, int64_t T, int64_t F,
                     const float* const* layers, const int64_t* outputs, float* y, int threads);

int echostream_stem_int8(const float* features, int64_t B, int64_t T, int64_t F,
                             const float* const* layers, const int64_t* outputs, float* y,
                             int threads);

void echostream_swoosh_r(const float* x, int64_t count, float* y);

void echostream_log_mel(const float* signal, int64_t frames, const float* window,
                        const int64_t* firsts, const int64_t* counts, const float* weights,
                        float* features);

void echostream_gated_sigmoid(const float* projected, const float* valid, int64_t rows, int64_t C,
                              float* y);

void echostream_gated_tanh(const float* projected, int64_t rows, int64_t C, float* y);
}
