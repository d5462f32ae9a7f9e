// How graphs of torch's Inductor call the kernels: each operator takes tensors and gives a new one.

#include <omp.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels.h"

namespace {

// Of the graphs that a thread runs.
thread_local int graph_threads = 1;

const float* data(AtenTensorHandle tensor) {
  void* found = nullptr;
  aoti_torch_get_data_ptr(tensor, &found);
  return (const float*)found;
}

int64_t size(AtenTensorHandle tensor, int dimension) {
  int64_t found = 0;
  aoti_torch_get_size(tensor, dimension, &found);
  return found;
}

std::vector<const float*> data(const AtenTensorHandle* tensors, int64_t count) {
  std::vector<const float*> found(count);
  for (int64_t i = 0; i < count; i++) found[i] = data(tensors[i]);
  return found;
}

int64_t frames(const AtenTensorHandle* blocks, int64_t count) {
  return count * size(blocks[0], 1);
}

// A new tensor; nullptr if there is none.
float* make(std::initializer_list<int64_t> sizes, AtenTensorHandle* result) {
  int64_t strides[4], stride = 1;
  for (int i = (int)sizes.size() - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= sizes.begin()[i];
  }
  if (aoti_torch_empty_strided(sizes.size(), sizes.begin(), strides, aoti_torch_dtype_float32(),
                               aoti_torch_device_type_cpu(), 0, result))
    return nullptr;
  return (float*)data(*result);
}

// `compute` is of float32 or of bytes.
AOTITorchError linear(decltype(echostream_linear) compute, AtenTensorHandle x,
                      AtenTensorHandle weights, int64_t offset, int64_t outputs, int64_t swoosh_l,
                      const float* addend, AtenTensorHandle* result) {
  const int64_t rows = size(x, 0);
  float* y = make({rows, outputs}, result);
  if (!y) return 1;
  return compute(data(x), rows, size(x, 1), data(weights) + offset, outputs, swoosh_l, addend, y,
                 graph_threads);
}

}  // namespace

extern "C" {

// Of the graphs that the calling thread runs from now on, what is left to torch in them included.
void echostream_set_graph_threads(int count) {
  graph_threads = count;
  omp_set_num_threads(count);
}

AOTITorchError aoti_torch_cpu_packed_linear(AtenTensorHandle x, AtenTensorHandle weights,
                                           int64_t offset, int64_t outputs, int64_t swoosh_l,
                                           AtenTensorHandle* result) {
  return linear(echostream_linear, x, weights, offset, outputs, swoosh_l, nullptr, result);
}

AOTITorchError aoti_torch_cpu_packed_linear_add(AtenTensorHandle x, AtenTensorHandle weights,
                                                int64_t offset, AtenTensorHandle addend,
                                                AtenTensorHandle* result) {
  return linear(echostream_linear, x, weights, offset, size(addend, 1), 0, data(addend), result);
}

AOTITorchError aoti_torch_cpu_packed_linear_int8(AtenTensorHandle x, AtenTensorHandle weights,
                                                    int64_t offset, int64_t outputs,
                                                    int64_t swoosh_l, AtenTensorHandle* result) {
  return linear(echostream_linear_int8, x, weights, offset, outputs, swoosh_l, nullptr, result);
}

AOTITorchError aoti_torch_cpu_packed_linear_int8_add(AtenTensorHandle x,
                                                         AtenTensorHandle weights, int64_t offset,
                                                         AtenTensorHandle addend,
                                                         AtenTensorHandle* result) {
  return linear(echostream_linear_int8, x, weights, offset, size(addend, 1), 0, data(addend),
                result);
}

AOTITorchError aoti_torch_cpu_attention_weights(AtenTensorHandle projected,
                                                const AtenTensorHandle* past, int64_t blocks,
                                                AtenTensorHandle positions, AtenTensorHandle mask,
                                                int64_t heads, AtenTensorHandle* result) {
  const int64_t B = size(projected, 0), S = size(projected, 1), P = frames(past, blocks);
  float* weights = make({B, heads, S, P + S}, result);
  if (!weights) return 1;
  echostream_attention_weights(data(projected), data(past, blocks).data(), blocks, data(positions),
                               data(mask), B, S, P, heads, size(past[0], 2) / heads,
                               size(positions, 1), weights);
  return 0;
}

AOTITorchError aoti_torch_cpu_attention_mix(AtenTensorHandle weights, const AtenTensorHandle* past,
                                            int64_t blocks, AtenTensorHandle values, int64_t heads,
                                            AtenTensorHandle* result) {
  const int64_t B = size(values, 0), S = size(values, 1), channels = size(values, 2);
  float* mixed = make({B, S, channels}, result);
  if (!mixed) return 1;
  echostream_attention_mix(data(weights), data(past, blocks).data(), blocks, data(values), B,
                           size(weights, 1), S, frames(past, blocks), heads, channels / heads,
                           mixed);
  return 0;
}

AOTITorchError aoti_torch_cpu_depthwise_swoosh(AtenTensorHandle past, AtenTensorHandle x,
                                               AtenTensorHandle taps, AtenTensorHandle bias,
                                               AtenTensorHandle* result) {
  const int64_t B = size(x, 0), S = size(x, 1), C = size(x, 2);
  float* y = make({B, S, C}, result);
  if (!y) return 1;
  echostream_depthwise_swoosh(data(past), data(x), data(taps), data(bias), B, S, size(past, 1),
                              size(taps, 0), C, y);
  return 0;
}

AOTITorchError aoti_torch_cpu_stem(AtenTensorHandle features, const AtenTensorHandle* layers,
                                   int64_t count, const int64_t* outputs, int64_t outputs_count,
                                   AtenTensorHandle* result) {
  const int64_t B = size(features, 0), T = size(features, 1), F = size(features, 2);
  float* y = make({B, (T - 7) / 2, outputs[2] * ((F + 3) / 4)}, result);
  if (!y) return 1;
  echostream_stem(data(features), B, T, F, data(layers, count).data(), outputs, y, graph_threads);
  return 0;
}

AOTITorchError aoti_torch_cpu_stem_int8(AtenTensorHandle features,
                                            const AtenTensorHandle* layers, int64_t count,
                                            const int64_t* outputs, int64_t outputs_count,
                                            AtenTensorHandle* result) {
  const int64_t B = size(features, 0), T = size(features, 1), F = size(features, 2);
  float* y = make({B, (T - 7) / 2, outputs[2] * ((F + 3) / 4)}, result);
  if (!y) return 1;
  return echostream_stem_int8(data(features), B, T, F, data(layers, count).data(), outputs, y,
                                  graph_threads);
}

AOTITorchError aoti_torch_cpu_swoosh_r(AtenTensorHandle x, AtenTensorHandle* result) {
  int64_t dimensions, count, *sizes, *strides;
  if (aoti_torch_get_dim(x, &dimensions) || aoti_torch_get_numel(x, &count) ||
      aoti_torch_get_sizes(x, &sizes) || aoti_torch_get_strides(x, &strides) ||
      aoti_torch_empty_strided(dimensions, sizes, strides, aoti_torch_dtype_float32(),
                               aoti_torch_device_type_cpu(), 0, result))
    return 1;
  echostream_swoosh_r(data(x), count, (float*)data(*result));
  return 0;
}

AOTITorchError aoti_torch_cpu_gated_sigmoid(AtenTensorHandle projected, AtenTensorHandle valid,
                                            AtenTensorHandle* result) {
  const int64_t B = size(projected, 0), S = size(projected, 1), C = size(projected, 2) / 2;
  float* y = make({B, S, C}, result);
  if (!y) return 1;
  echostream_gated_sigmoid(data(projected), data(valid), B * S, C, y);
  return 0;
}

AOTITorchError aoti_torch_cpu_gated_tanh(AtenTensorHandle projected, AtenTensorHandle* result) {
  const int64_t B = size(projected, 0), S = size(projected, 1), C = size(projected, 2) / 3;
  float* y = make({B, S, C}, result);
  if (!y) return 1;
  echostream_gated_tanh(data(projected), B * S, C, y);
  return 0;
}
}
