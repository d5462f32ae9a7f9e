// What all operations share: tensors, threads, and how torch learns of them.

#include "operation.h"

#include <omp.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>

namespace echostream {
namespace {

struct Operation {
  const char *name, *schema;
  void (*call)(StableIValue*, uint64_t, uint64_t);
};

std::vector<Operation>& operations() {
  static std::vector<Operation> all;
  return all;
}

// Of the graphs that a thread runs; 0 in a thread that runs none.
thread_local int graph_threads = 0;

}  // namespace

void check(AOTITorchError error) {
  if (error) throw std::runtime_error("torch refused what the kernel asked of it");
}

int threads() {
  uint32_t count = 1;
  if (!graph_threads) check(torch_get_num_threads(&count));
  return graph_threads ? graph_threads : (int)count;
}

namespace {

float* make(AtenTensorHandle* result, int64_t dimensions, const int64_t* sizes,
            const int64_t* strides) {
  void* data;
  check(aoti_torch_empty_strided(dimensions, sizes, strides, aoti_torch_dtype_float32(),
                                 aoti_torch_device_type_cpu(), 0, result));
  check(aoti_torch_get_data_ptr(*result, &data));
  return (float*)data;
}

}  // namespace

float* make(AtenTensorHandle* result, const std::vector<int64_t>& sizes) {
  int64_t strides[8], stride = 1;
  for (size_t i = sizes.size(); i-- > 0; stride *= sizes[i]) strides[i] = stride;
  return make(result, (int64_t)sizes.size(), sizes.data(), strides);
}

Dense::Dense(AtenTensorHandle given, Layout layout) : tensor_(given) {
  int32_t type;
  check(aoti_torch_get_dtype(given, &type));
  if (type != aoti_torch_dtype_float32())
    throw std::runtime_error("the kernel computes in float32, and is given something else");
  bool whole;
  check(aoti_torch_get_dim(given, &dimensions_));
  check(aoti_torch_get_numel(given, &count_));
  check(aoti_torch_get_sizes(given, &sizes_));
  check(aoti_torch_get_strides(given, &strides_));
  check(aoti_torch_is_contiguous(given, &whole));
  if (!whole && layout == Layout::ANY_ORDER) {
    int64_t span = 1;
    for (int64_t i = 0; i < dimensions_; i++) span += (sizes_[i] - 1) * strides_[i];
    whole = span == count_;
  }
  if (!whole && layout == Layout::MATRICES) {
    const int64_t rows = sizes_[dimensions_ - 2], columns = sizes_[dimensions_ - 1];
    whole = (columns < 2 || strides_[dimensions_ - 1] == 1) &&
            (rows < 2 || strides_[dimensions_ - 2] == columns);
  }
  if (!whole) {
    make(&copy_, sizes());
    tensor_ = copy_;
    check(aoti_torch_copy_(copy_, given, 0));
    check(aoti_torch_get_strides(copy_, &strides_));
  }
  void* data;
  check(aoti_torch_get_data_ptr(tensor_, &data));
  data_ = (const float*)data;
}

Dense::~Dense() {
  if (copy_) aoti_torch_delete_tensor_object(copy_);
}

float* Dense::make_like(AtenTensorHandle* result) const {
  return make(result, dimensions_, sizes_, strides_);
}

const int64_t* integers(AtenTensorHandle given) {
  int32_t type;
  void* data;
  check(aoti_torch_get_dtype(given, &type));
  if (type != aoti_torch_dtype_int64()) throw std::runtime_error("the kernel expects int64 here");
  check(aoti_torch_get_data_ptr(given, &data));
  return (const int64_t*)data;
}

DenseList::DenseList(const AtenTensorHandle* given, int64_t count, Layout layout) {
  tensors.reserve(count);
  data.reserve(count);
  for (int64_t i = 0; i < count; i++) {
    tensors.emplace_back(given[i], layout);
    data.push_back(tensors.back().data());
  }
}

Arguments::~Arguments() {
  for (int i = 0; i < singles_; i++) aoti_torch_delete_tensor_object(single_[i]);
  for (const StableIValue tensor : tensors_) aoti_torch_delete_tensor_object((AtenTensorHandle)tensor);
}

AtenTensorHandle Arguments::tensor() {
  return single_[singles_++] = (AtenTensorHandle)*next_++;
}

const StableIValue* Arguments::list(std::vector<StableIValue>& into) {
  const auto given = (StableListHandle)*next_++;
  size_t count = 0;
  check(torch_list_size(given, &count));
  into.resize(count);
  for (size_t i = 0; i < count; i++) check(torch_list_get_item(given, i, &into[i]));
  check(torch_delete_list(given));
  length_ = (int64_t)count;
  return into.data();
}

int64_t Arguments::integer() {
  if (length_ < 0) return (int64_t)*next_++;
  return std::exchange(length_, -1);
}

Listed::Listed(const char* name, const char* schema,
               void (*call)(StableIValue*, uint64_t, uint64_t)) {
  operations().push_back({name, schema, call});
}

}  // namespace echostream

extern "C" {

// Once in a process. Returns 0, or the number of operations that torch did not take.
int echostream_register() {
  int failed = 0;
  TorchLibraryHandle definitions, implementations;
  if (aoti_torch_library_init_fragment("echostream", __FILE__, __LINE__, &definitions) ||
      aoti_torch_library_init_impl("echostream", "CPU", __FILE__, __LINE__, &implementations))
    return -1;
  for (const auto& operation : echostream::operations())
    failed += aoti_torch_library_def(definitions, operation.schema) ||
              torch_library_impl(implementations, operation.name, operation.call, TORCH_ABI_VERSION);
  return failed;
}

// Of the graphs that the calling thread runs from now on, what is left to torch in them included.
void echostream_set_graph_threads(int count) {
  echostream::graph_threads = count;
  omp_set_num_threads(count);
}
}
