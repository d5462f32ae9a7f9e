// How an operation of the kernel is declared: once, for torch and for the graphs of its Inductor.
//
//   OPERATION(halve, "(Tensor x) -> Tensor", AtenTensorHandle x_given) {
//     const Dense x(x_given);
//     float* y = make(result, {x.size(0)});
//     ...
//     return 0;
//   }
//
// defines the C function `aoti_torch_cpu_halve`, which compiled graphs call, and puts it on the list
// of what becomes `torch.ops.echostream.halve`. The C parameters follow the schema: Tensor is a
// handle, Tensor[] and int[] are a pointer and a length, int is int64_t. `result` comes last. Errors are
// exceptions.
//
// Only torch's C interface is used, which stays the same between versions. Its headers take a second to
// compile, so operation.cpp alone includes them; the types are declared here again.

#pragma once

#include <cstdint>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;
using AOTITorchError = int32_t;
using StableIValue = uint64_t;

namespace echostream {

void check(AOTITorchError error);

// Threads for one operation: those of the graph that this thread runs, or else torch's.
int threads();

// A new contiguous float32 tensor.
float* make(AtenTensorHandle* result, const std::vector<int64_t>& sizes);

// How a tensor may lie: contiguous; in another order of dimensions, but without gaps; or as matrices
// of its last two dimensions that are contiguous each.
enum class Layout { CONTIGUOUS, ANY_ORDER, MATRICES };

// A float32 tensor as it is given, if it lies as it may, or else a contiguous copy.
class Dense {
 public:
  explicit Dense(AtenTensorHandle given, Layout layout = Layout::CONTIGUOUS);
  ~Dense();
  Dense(Dense&& other) noexcept : Dense(other) { other.copy_ = nullptr; }

  const float* data() const { return data_; }
  // Of a matrix [i, j] of a tensor of four dimensions.
  const float* data(int64_t i, int64_t j) const { return data_ + i * strides_[0] + j * strides_[1]; }
  int64_t size(int dimension) const { return sizes_[dimension]; }
  std::vector<int64_t> sizes() const { return {sizes_, sizes_ + dimensions_}; }
  int64_t count() const { return count_; }

  // A new tensor of the same shape and order.
  float* make_like(AtenTensorHandle* result) const;

 private:
  Dense(const Dense&) = default;

  AtenTensorHandle tensor_, copy_ = nullptr;
  const float* data_;
  int64_t *sizes_, *strides_, dimensions_, count_;
};

// Of a contiguous int64 tensor.
const int64_t* integers(AtenTensorHandle given);

// Tensors of the same shape.
struct DenseList {
  std::vector<Dense> tensors;
  std::vector<const float*> data;

  DenseList(const AtenTensorHandle* given, int64_t count, Layout layout = Layout::CONTIGUOUS);
};

// The arguments of a call by torch, taken in order. It hands them over: they are released at the end.
class Arguments {
 public:
  explicit Arguments(StableIValue* stack) : next_(stack) {}
  ~Arguments();

  template <typename T>
  T take() {
    if constexpr (std::is_same_v<T, AtenTensorHandle>) {
      return tensor();
    } else if constexpr (std::is_same_v<T, const AtenTensorHandle*>) {
      return (T)list(tensors_);
    } else if constexpr (std::is_same_v<T, const int64_t*>) {
      return (T)list(integers_);
    } else {
      static_assert(std::is_same_v<T, int64_t>);
      return integer();
    }
  }

 private:
  AtenTensorHandle tensor();
  const StableIValue* list(std::vector<StableIValue>& into);
  int64_t integer();  // Or the length of the list that was just taken.

  static constexpr int MOST = 8;  // Tensors of an operation, beside those of its list.
  StableIValue* next_;
  AtenTensorHandle single_[MOST];
  int singles_ = 0;
  std::vector<StableIValue> tensors_, integers_;
  int64_t length_ = -1;
};

// An operation as torch calls it: the C function's own parameters say what to take.
template <auto function>
struct Boxed;

template <typename... T, AOTITorchError (*function)(T...)>
struct Boxed<function> {
  static void call(StableIValue* stack, uint64_t, uint64_t) {
    AtenTensorHandle result = nullptr;
    call(stack, &result, std::make_index_sequence<sizeof...(T) - 1>());
    stack[0] = (StableIValue)result;
  }

 private:
  template <size_t... I>
  static void call(StableIValue* stack, AtenTensorHandle* result, std::index_sequence<I...>) {
    Arguments arguments(stack);
    // Braces, so that the arguments are taken in order.
    const std::tuple taken{arguments.take<std::tuple_element_t<I, std::tuple<T...>>>()...};
    check(function(std::get<I>(taken)..., result));
  }
};

// Puts an operation on the list of what the library registers.
struct Listed {
  Listed(const char* name, const char* schema, void (*call)(StableIValue*, uint64_t, uint64_t));
};

}  // namespace echostream

#define OPERATION(name, schema, ...)                                                           \
  extern "C" AOTITorchError aoti_torch_cpu_##name(__VA_ARGS__, AtenTensorHandle* result);      \
  static const echostream::Listed name##_listed(                                               \
      #name, #name schema, &echostream::Boxed<&aoti_torch_cpu_##name>::call);                  \
  extern "C" AOTITorchError aoti_torch_cpu_##name(__VA_ARGS__, AtenTensorHandle* result)
