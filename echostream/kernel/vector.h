// As many numbers as the processor computes at once, and functions of them.
//
// A sum or a function of a number is the same bits wherever it stands in a vector, so that nothing
// depends on how rows are cut into vectors, or on who is computed beside whom.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace echostream {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t IntVector __attribute__((vector_size(LANES * sizeof(int32_t))));

// Zeros, to write to and to read from in vectors: `new` would put them across two cache lines each.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(int64_t count) : vectors_((count + LANES - 1) / LANES) {}

  float* data() { return (float*)vectors_.data(); }
  const float* data() const { return (const float*)vectors_.data(); }

 private:
  std::vector<Vector> vectors_;
};

// AlignedBuffer in memory, from any of them on.
typedef float UnalignedVector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

inline Vector load(const float* from) { return *(const UnalignedVector*)from; }

inline void store(float* to, Vector x) { *(UnalignedVector*)to = x; }

#if defined(__AVX512F__)

inline __mmask16 first_lanes(int64_t count) { return count <= 0 ? 0 : (1 << count) - 1; }

// The first `count` numbers, and zeros.
inline Vector load_some(const float* from, int64_t count) {
  if (count >= LANES) return load(from);
  return (Vector)_mm512_maskz_loadu_ps(first_lanes(count), from);
}

inline void store_some(float* to, Vector x, int64_t count) {
  if (count >= LANES) return store(to, x);
  _mm512_mask_storeu_ps(to, first_lanes(count), (__m512)x);
}

#else

inline Vector load_some(const float* from, int64_t count) {
  if (count >= LANES) return load(from);
  Vector x = {};
  for (int64_t i = 0; i < count; i++) x[i] = from[i];
  return x;
}

inline void store_some(float* to, Vector x, int64_t count) {
  if (count >= LANES) return store(to, x);
  for (int64_t i = 0; i < count; i++) to[i] = x[i];
}

#endif

// The numbers of two vectors by turns, from place `first` on.
#if defined(__clang__)

template <int first, int... I>
inline Vector interleave(Vector x, Vector y, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, y, (first + I / 2 + I % 2 * LANES)...);
}

template <int first>
inline Vector interleave(Vector x, Vector y) {
  return interleave<first>(x, y, std::make_integer_sequence<int, LANES>());
}

#else

template <int first>
inline Vector interleave(Vector x, Vector y) {
  IntVector places;
  for (int i = 0; i < LANES; i++) places[i] = first + i / 2 + i % 2 * LANES;
  return __builtin_shuffle(x, y, places);
}

#endif

// Swaps the two halves of each block of 2 * `distance` numbers.
#if defined(__clang__)

template <int distance, int... I>
inline Vector swap_blocks(Vector x, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, x, (I ^ distance)...);
}

template <int distance>
inline Vector swap_blocks(Vector x) {
  return swap_blocks<distance>(x, std::make_integer_sequence<int, LANES>());
}

#else

template <int distance>
inline Vector swap_blocks(Vector x) {
  IntVector places;
  for (int i = 0; i < LANES; i++) places[i] = i ^ distance;
  return __builtin_shuffle(x, places);
}

#endif

// All numbers reduced by `combine`, in every lane.
template <int distance = LANES / 2, typename Combine>
inline Vector reduce(Vector x, Combine combine) {
  x = combine(x, swap_blocks<distance>(x));
  if constexpr (distance > 1)
    return reduce<distance / 2>(x, combine);
  else
    return x;
}

// The first `count` numbers of x, then those of y.
inline Vector blend(Vector x, int64_t count, Vector y) {
  if (count >= LANES) return x;
  for (int i = 0; i < LANES; i++) x[i] = i < count ? x[i] : y[i];
  return x;
}

// Transposes a square of numbers: log2(LANES) times, the first and the second half of the rows are
// interleaved.
inline void transpose(Vector (&rows)[LANES]) {
  for (int done = 1; done < LANES; done *= 2) {
    Vector shuffled[LANES];
    for (int i = 0; i < LANES / 2; i++) {
      shuffled[2 * i] = interleave<0>(rows[i], rows[i + LANES / 2]);
      shuffled[2 * i + 1] = interleave<LANES / 2>(rows[i], rows[i + LANES / 2]);
    }
    for (int i = 0; i < LANES; i++) rows[i] = shuffled[i];
  }
}

// e^x for x <= 0, to 2 units in the last place; 0 for x below -86.
inline Vector exponential(Vector x) {
  // Adding it leaves whole numbers in the lowest bits.
  const float rounder = 12582912.0f;
  const Vector shifted = x * 1.44269504f + rounder;
  const Vector n = shifted - rounder;
  const Vector r = x - n * 0.693145752f - n * 1.42860677e-6f;
  Vector y = r * 1.3933645095676184e-3f + 8.363175205886364e-3f;
  y = y * r + 4.166646674275398e-2f;
  y = y * r + 1.6666576266288757e-1f;
  y = y * r + 0.5f;
  y = y * (r * r) + r + 1.0f;
  IntVector bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << 23) + (127 << 23);
  Vector power;
  std::memcpy(&power, &bits, sizeof(power));
  return x < -86.0f ? Vector{} : y * power;
}

// Without their signs.
inline Vector absolute(Vector x) {
  IntVector bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits &= 0x7fffffff;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// 1 / (1 + e^-x), to 2e-7.
inline Vector sigmoid(Vector x) {
  const Vector t = exponential(-absolute(x));
  return (x > 0.0f ? Vector{} + 1.0f : t) / (1.0f + t);
}

// To 2e-7 of 1.
inline Vector tanh(Vector x) {
  const Vector t = exponential(-2.0f * absolute(x)), y = (1.0f - t) / (1.0f + t);
  return x > 0.0f ? y : -y;
}

// log(1 + e^-x) for x >= 0, to 1.5e-7.
#if defined(__AVX512F__)

// Around each half from 0 to 15.5 a polynomial of degree 4 through its Chebyshev nodes: the processor
// takes a number out of 32 as fast as it adds two.
struct SoftplusTable {
  static constexpr int DEGREE = 4;
  alignas(64) float coefficients[DEGREE + 1][2 * LANES];

  SoftplusTable() {
    for (int half = 0; half < 2 * LANES; half++) {
      double nodes[DEGREE + 1], differences[DEGREE + 1], sum[DEGREE + 1] = {};
      for (int k = 0; k <= DEGREE; k++) {
        nodes[k] = 0.25 * std::cos(M_PI * (k + 0.5) / (DEGREE + 1));
        differences[k] = std::log1p(std::exp(-(0.5 * half + nodes[k])));
      }
      // Newton's interpolation, and its polynomial multiplied out.
      for (int order = 1; order <= DEGREE; order++)
        for (int k = DEGREE; k >= order; k--)
          differences[k] = (differences[k] - differences[k - 1]) / (nodes[k] - nodes[k - order]);
      for (int k = DEGREE; k >= 0; k--) {
        for (int power = DEGREE; power > 0; power--)
          sum[power] = sum[power - 1] - nodes[k] * sum[power];
        sum[0] = differences[k] - nodes[k] * sum[0];
      }
      for (int power = 0; power <= DEGREE; power++) coefficients[power][half] = (float)sum[power];
    }
  }
};

inline const SoftplusTable SOFTPLUS_TABLE;

inline Vector softplus_of_negative(Vector x) {
  // Adding it leaves the nearest half, as a whole number in the lowest bits.
  const float rounder = 6291456.0f;
  const Vector u = (Vector)_mm512_min_ps((__m512)x, _mm512_set1_ps(15.74f));
  const Vector shifted = u + rounder, from_half = u - (shifted - rounder);
  const auto coefficient = [&](int power) {
    const float* all = SOFTPLUS_TABLE.coefficients[power];
    return (Vector)_mm512_permutex2var_ps(_mm512_load_ps(all), (__m512i)shifted,
                                          _mm512_load_ps(all + LANES));
  };
  Vector y = coefficient(SoftplusTable::DEGREE);
  for (int power = SoftplusTable::DEGREE - 1; power >= 0; power--) y = y * from_half + coefficient(power);
  return y;
}

#else

inline Vector softplus_of_negative(Vector x) {
  const Vector t = exponential(-x);
  // log(1 + t) / t for t from 0 to 1, a polynomial through its Chebyshev nodes.
  Vector q = t * -3.256378462538123e-3f + 1.9907161593437195e-2f;
  q = q * t - 5.7064201682806015e-2f;
  q = q * t + 1.0614264756441116e-1f;
  q = q * t - 1.5311862528324127e-1f;
  q = q * t + 1.9678117334842682e-1f;
  q = q * t - 2.4954558908939362e-1f;
  q = q * t + 3.3330005407333374e-1f;
  q = q * t - 4.999990463256836e-1f;
  q = q * t + 1.0f;
  return q * t;
}

#endif

constexpr float SWOOSH_R_OFFSET = 0.313261687f;

// log(1 + e^(x - shift)) - 0.08 x - offset, to 2e-7 of the largest of 1 and the result.
inline Vector swoosh(Vector x, float shift, float offset) {
  const Vector z = x - shift;
  return softplus_of_negative(absolute(z)) + (z > 0.0f ? z : Vector{}) - x * 0.08f - offset;
}

// x times the share of a normal distribution below x, to 2e-7 of x.
inline Vector gelu(Vector x) {
  // Of the error function, Abramowitz and Stegun, 7.1.26.
  const Vector z = absolute(x) * 0.707106781f, t = 1.0f / (1.0f + z * 0.3275911f);
  Vector tail = t * 0.5307027145f - 0.7265760135f;
  tail = tail * t + 0.7107068705f;
  tail = tail * t - 0.142248368f;
  tail = tail * t + 0.127414796f;
  tail = tail * t * exponential(-(z * z));
  return x * (x > 0.0f ? 1.0f - tail : tail);
}

}  // namespace echostream
