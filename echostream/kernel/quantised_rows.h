// Rows of numbers rounded to whole ones, each with one scale: the inputs of int8 layers. They are int8
// where the processor adds products of int8, else int16, which take it the same time as int8 would.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "vector.h"

#if defined(__AVX512VNNI__)

namespace echostream {

struct QuantisedRows {
  int64_t inputs;  // Of a row, with zeros up to a multiple of four.
  int64_t stride;  // From a row to the next.
  std::unique_ptr<int8_t[]> bytes;
  std::unique_ptr<float[]> scales;   // [M]
  std::unique_ptr<int32_t[]> sums;  // [M], of a row's bytes.

  // x: [M, K].
  QuantisedRows(const float* x, int64_t M, int64_t K)
      : inputs((K + 3) / 4 * 4),
        stride((K + BLOCK - 1) / BLOCK * BLOCK),
        bytes(new int8_t[M * stride]),
        scales(new float[M]),
        sums(new int32_t[M]) {
    for (int64_t m = 0; m < M; m++) round(x + m * K, K, m);
  }

  const int8_t* row(int64_t m) const { return bytes.get() + m * stride; }

  // Adds 128 to every number, padding included.
  void make_unsigned(int64_t M) {
    int8_t* const all = bytes.get();
    for (int64_t i = 0; i < M * stride; i++) all[i] ^= -128;
  }

 private:
  static constexpr int VECTORS = 4, BLOCK = VECTORS * LANES;

  static __m512 vector(const float* x, int64_t K, int64_t k) {
    return (__m512)load_some(x + k, K - k);
  }

  // A NaN is larger than any number, so that what is made of its row is NaN.
  static float largest_magnitude(const float* x, int64_t K) {
    const __m512i but_sign = _mm512_set1_epi32(0x7fffffff);
    __m512i sizes[VECTORS] = {};
    for (int64_t k = 0; k < K; k += BLOCK)
      for (int v = 0; v < VECTORS; v++)
        sizes[v] = _mm512_max_epu32(
            sizes[v], _mm512_and_si512((__m512i)vector(x, K, k + v * LANES), but_sign));
    const uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(
        _mm512_max_epu32(sizes[0], sizes[1]), _mm512_max_epu32(sizes[2], sizes[3])));
    float largest;
    std::memcpy(&largest, &bits, sizeof(largest));
    return largest < 1e-30f ? 1e-30f : largest;
  }

  void round(const float* x, int64_t K, int64_t m) {
    const float largest = largest_magnitude(x, K);
    scales[m] = largest / 127.0f;
    const __m512 inverse = _mm512_set1_ps(127.0f / largest);
    // 1.5 * 2^23: after adding it the lowest bits are the number rounded to a whole one.
    const __m512 rounder = _mm512_set1_ps(12582912.0f);
    // The lower halves of two vectors. Packing works within each quarter of a vector, so this order
    // keeps every four numbers together; `in_order` then puts the fours in their places.
    const __m512i lower_halves = _mm512_set_epi16(
        62, 60, 58, 56, 30, 28, 26, 24, 54, 52, 50, 48, 22, 20, 18, 16,  //
        46, 44, 42, 40, 14, 12, 10, 8, 38, 36, 34, 32, 6, 4, 2, 0);
    const __m512i in_order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < K; k += BLOCK) {
      __m512i rounded[VECTORS];
      for (int v = 0; v < VECTORS; v++)
        rounded[v] = (__m512i)_mm512_fmadd_ps(vector(x, K, k + v * LANES), inverse, rounder);
      const __m512i packed = _mm512_permutexvar_epi32(
          in_order,
          _mm512_packs_epi16(_mm512_permutex2var_epi16(rounded[0], lower_halves, rounded[1]),
                             _mm512_permutex2var_epi16(rounded[2], lower_halves, rounded[3])));
      _mm512_storeu_si512(bytes.get() + m * stride + k, packed);
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), packed);
    }
    sums[m] = _mm512_reduce_add_epi32(sum);
  }
};

}  // namespace echostream

#elif defined(__AVX2__)

namespace echostream {

struct QuantisedRows {
  int64_t inputs;  // Of a row, with zeros up to a multiple of four.
  std::unique_ptr<int16_t[]> values;  // [M, inputs]
  std::unique_ptr<float[]> scales;    // [M]
  std::unique_ptr<int32_t[]> sums;    // [M], of a row's values.

  // x: [M, K].
  QuantisedRows(const float* x, int64_t M, int64_t K)
      : inputs((K + 3) / 4 * 4),
        values(new int16_t[M * inputs]),
        scales(new float[M]),
        sums(new int32_t[M]) {
    // The largest that lets no sum of products with 127 overflow; a multiple of 127, so that what is
    // whole in int8 is whole here too.
    const float most = 127 * std::clamp<int64_t>(INT32_MAX / (127 * 127 * K), 1, 258);
    for (int64_t m = 0; m < M; m++) round(x + m * K, K, m, most);
  }

  const int16_t* row(int64_t m) const { return values.get() + m * inputs; }

 private:
  static uint32_t bits(float x) {
    uint32_t found;
    std::memcpy(&found, &x, sizeof(found));
    return found;
  }

  void round(const float* x, int64_t K, int64_t m, float most) {
    // A NaN is larger than any number, so that what is made of its row is NaN.
    uint32_t largest_bits = bits(1e-30f);
    for (int64_t k = 0; k < K; k++) largest_bits = std::max(largest_bits, bits(x[k]) & 0x7fffffffu);
    float largest;
    std::memcpy(&largest, &largest_bits, sizeof(largest));
    scales[m] = largest / most;
    const float inverse = most / largest;
    int16_t* to = values.get() + m * inputs;
    int32_t sum = 0;
    for (int64_t k = 0; k < K; k++) {
      // 1.5 * 2^23: after adding it the lowest bits are the number rounded to a whole one.
      to[k] = (int16_t)bits(x[k] * inverse + 12582912.0f);
      sum += to[k];
    }
    for (int64_t k = K; k < inputs; k++) to[k] = 0;
    sums[m] = sum;
  }
};

}  // namespace echostream

#endif
