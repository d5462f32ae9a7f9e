// How the weights of a layer are packed; see packed_weights.py.

#pragma once

#include <cstdint>

namespace echostream {

// Outputs that lie side by side.
constexpr int64_t TILE = 32;

}  // namespace echostream
