// Writing by index in the CPU's order, without atomics: embedding's gradient, index_add,
// scatter_add, index_put; and nonzero.
//
// Contract    see cuda_abi_index.h. Where an index repeats, additions happen in the order of the
//             source and the last assignment wins: the bits of the CPU.
// Floor       The source once, the destination's touched elements twice, and the keys: 32 bytes an
//             index and pass of the sort.
// Algorithm   The indices are sorted (stable, with their positions); then the first of each run of
//             equal keys, for each column, adds the run's elements in order: a chain of additions,
//             whose loads do not wait for each other. One hot row is one long chain; two stages
//             would shorten it and change its bits.
//             Where index has a value for every element and the lines off the axis are many, as in
//             the gradient of a gather of one class a row, a thread a line walks the axis instead:
//             no two lines meet, and nothing needs sorting.
// Sort        Least significant digit first, 4 bits a pass. A thread takes 8 neighbouring keys of a
//             tile of 2048; counts by (digit, tile) are scanned by one block; then each thread
//             places its keys in order. 4 bits: the counters of all threads fit in 16 KB.
#include "kernels/cuda/scan.cuh"
#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

inline __device__ std::int64_t wrapped(std::int64_t index, std::int64_t size) {
  return index < 0 ? index + size : index;
}

// ---- A thread a line ----------------------------------------------------------------------------

template <class T>
struct LineParams {
  Walk<3> walk;  // the lines: dst, src, index
  T* dst;
  const T* src;
  const std::int64_t* index;
  std::int64_t length, axis_size, dst_axis, src_axis, index_axis;
};

template <class T>
__global__ void scatter_lines_kernel(LineParams<T> p) {
  for_elements<1>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t line) {
        std::int64_t at[3];
        p.walk.offsets(line, at);
        GS_NO_UNROLL
        for (std::int64_t i = 0; i < p.length; ++i) {
          const std::int64_t to = wrapped(p.index[at[2] + i * p.index_axis], p.axis_size);
          p.dst[at[0] + to * p.dst_axis] += p.src[at[1] + i * p.src_axis];
        }
      });
}

template <class T>
int launch_lines(const ScatterAddArgs& a, void* stream) {
  std::int64_t shape[kMaxDims];
  for (int d = 0; d < a.ndim; ++d) shape[d] = d == a.axis ? 1 : a.shape[d];
  const LineParams<T> p{
      make_walk<3>(a.ndim, shape, {a.dst.strides, a.src.strides, a.index.strides}),
      static_cast<T*>(a.dst.data),
      static_cast<const T*>(a.src.data),
      static_cast<const std::int64_t*>(a.index.data),
      a.shape[a.axis],
      a.axis_size,
      a.dst.strides[a.axis],
      a.src.strides[a.axis],
      a.index.strides[a.axis]};
  return launch_elements("scatter_add", scatter_lines_kernel<T>, p.walk.numel, 1, stream, p);
}

// ---- Keys and their sort ------------------------------------------------------------------------

struct KeysParams {
  Walk<2> walk;  // what is indexed without its axis, index
  std::int64_t* keys;
  const std::int64_t* index;
  std::int64_t axis_stride, axis_size;
};

__global__ void index_keys_kernel(KeysParams p) {
  for_elements<4>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        std::int64_t at[2];
        p.walk.offsets(i, at);
        p.keys[i] = at[0] + wrapped(p.index[at[1]], p.axis_size) * p.axis_stride;
      });
}

constexpr int kDigits = 16, kDigitBits = 4, kKeysPerThread = int(kSortTile) / kScanThreads;

struct CountShared {
  int counts[kDigits];
};

__global__ void count_digits_kernel(const std::int64_t* keys, std::int64_t n, int shift,
                                    std::int64_t* counts) {
  GS_SHARED(CountShared, s);
  const int t = int(threadIdx.x);
  if (t < kDigits) s.counts[t] = 0;
  __syncthreads();
  const std::int64_t tile = std::int64_t(blockIdx.x) * kSortTile;
  GS_UNROLL
  for (int v = 0; v < kKeysPerThread; ++v) {
    const std::int64_t i = tile + v * kScanThreads + t;
    if (i < n) atomicAdd(&s.counts[(keys[i] >> shift) & (kDigits - 1)], 1);
  }
  __syncthreads();
  if (t < kDigits) counts[std::int64_t(t) * gridDim.x + blockIdx.x] = s.counts[t];
}

__global__ void scan_counts_kernel(std::int64_t* counts, std::int64_t n, bool with_total) {
  GS_SHARED(ScanShared, s);
  scan_in_place(s, counts, n, with_total);
}

struct PlaceShared {
  ScanShared scan;
  std::int64_t keys[kSortTile];
  std::int64_t order[kSortTile];
  int counts[kDigits][kScanThreads];
  std::int64_t starts[kDigits];
};

// order null: that of the first pass, 0, 1, 2, ...
__global__ void place_keys_kernel(const std::int64_t* keys, const std::int64_t* order,
                                  std::int64_t n, int shift, const std::int64_t* counts,
                                  std::int64_t* keys_out, std::int64_t* order_out) {
  GS_SHARED(PlaceShared, s);
  const int t = int(threadIdx.x);
  const std::int64_t tile = std::int64_t(blockIdx.x) * kSortTile;
  const int here = n - tile < kSortTile ? int(n - tile) : int(kSortTile);
  GS_NO_UNROLL
  for (int i = t; i < here; i += kScanThreads) {
    s.keys[i] = keys[tile + i];
    s.order[i] = order ? order[tile + i] : tile + i;
  }
  GS_UNROLL
  for (int d = 0; d < kDigits; ++d) s.counts[d][t] = 0;
  __syncthreads();
  const int begin = t * kKeysPerThread;
  const int end = begin + kKeysPerThread < here ? begin + kKeysPerThread : here;
  GS_NO_UNROLL
  for (int i = begin; i < end; ++i) ++s.counts[(s.keys[i] >> shift) & (kDigits - 1)][t];
  __syncthreads();
  // The counters in the order of (digit, thread), a run of kDigits of them a thread.
  int* const run = &s.counts[0][0] + t * kDigits;
  std::int64_t sum = 0, total = 0;
  GS_UNROLL
  for (int i = 0; i < kDigits; ++i) sum += run[i];
  int before = int(exclusive_scan(s.scan, sum, total));
  GS_UNROLL
  for (int i = 0; i < kDigits; ++i) {
    const int count = run[i];
    run[i] = before;
    before += count;
  }
  __syncthreads();
  if (t < kDigits)  // from a place in the sorted tile to one among all keys
    s.starts[t] = counts[std::int64_t(t) * gridDim.x + blockIdx.x] - s.counts[t][0];
  __syncthreads();
  GS_NO_UNROLL
  for (int i = begin; i < end; ++i) {
    const int digit = int(s.keys[i] >> shift) & (kDigits - 1);
    const std::int64_t to = s.starts[digit] + s.counts[digit][t]++;
    keys_out[to] = s.keys[i];
    order_out[to] = s.order[i];
  }
}

// ---- Runs of equal keys -------------------------------------------------------------------------

template <class T>
struct RunParams {
  Walk<2> walk;  // dst, src: the elements of one index
  T* dst;
  const T* src;
  std::int64_t dst_axis, src_axis;
  const std::int64_t *keys, *order;
  std::int64_t n;
};

// One past the last position with keys[position] == keys[from].
inline __device__ std::int64_t run_end(const std::int64_t* keys, std::int64_t from,
                                       std::int64_t n) {
  const std::int64_t key = keys[from];
  std::int64_t low = from + 1, high = n;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (keys[middle] == key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

template <class T, bool kAdd>
__global__ void scatter_runs_kernel(RunParams<T> p) {
  for_elements<1>(
      p.walk.numel * p.n, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        const std::int64_t width = p.walk.numel;
        const bool small = width * p.n <= 0x7fffffff;
        const std::int64_t k =
            small ? std::int64_t(std::uint32_t(i) / std::uint32_t(width)) : i / width;
        const std::int64_t key = p.keys[k];
        std::int64_t at[2];
        if constexpr (kAdd) {
          if (k > 0 && p.keys[k - 1] == key) return;
          p.walk.offsets(i - k * width, at);
          const std::int64_t end = run_end(p.keys, k, p.n);
          T* const to = p.dst + at[0] + key * p.dst_axis;
          T sum = *to;
          GS_UNROLL_BY(4)
          for (std::int64_t j = k; j < end; ++j) sum += p.src[at[1] + p.order[j] * p.src_axis];
          *to = sum;
        } else {
          if (k + 1 < p.n && p.keys[k + 1] == key) return;
          p.walk.offsets(i - k * width, at);
          p.dst[at[0] + key * p.dst_axis] = p.src[at[1] + p.order[k] * p.src_axis];
        }
      });
}

template <class T, bool kAdd>
int launch_runs(const ScatterSortedArgs& a, void* stream) {
  const RunParams<T> p{make_walk<2>(a.ndim, a.shape, {a.dst.strides, a.src.strides}),
                       static_cast<T*>(a.dst.data),
                       static_cast<const T*>(a.src.data),
                       a.dst_axis,
                       a.src_axis,
                       a.keys,
                       a.order,
                       a.n};
  return launch_elements("scatter", scatter_runs_kernel<T, kAdd>, p.walk.numel * a.n, 1, stream, p);
}

// ---- Nonzero ------------------------------------------------------------------------------------

constexpr int kMaskPerThread = int(kNonzeroTile) / kScanThreads;

// The thread's run of neighbouring elements: how many are set.
inline __device__ int count_run(const std::uint8_t* mask, std::int64_t begin, std::int64_t numel) {
  int count = 0;
  GS_UNROLL
  for (int v = 0; v < kMaskPerThread; ++v) count += begin + v < numel && mask[begin + v] != 0;
  return count;
}

__global__ void nonzero_count_kernel(const std::uint8_t* mask, std::int64_t numel,
                                     std::int64_t* starts) {
  GS_SHARED(ScanShared, s);
  const std::int64_t begin =
      std::int64_t(blockIdx.x) * kNonzeroTile + std::int64_t(threadIdx.x) * kMaskPerThread;
  std::int64_t total = 0;
  exclusive_scan(s, count_run(mask, begin, numel), total);
  if (threadIdx.x == 0) starts[blockIdx.x] = total;
}

__global__ void nonzero_write_kernel(const __grid_constant__ NonzeroWriteArgs a) {
  GS_SHARED(ScanShared, s);
  const std::int64_t begin =
      std::int64_t(blockIdx.x) * kNonzeroTile + std::int64_t(threadIdx.x) * kMaskPerThread;
  std::int64_t total = 0;
  std::int64_t row =
      a.starts[blockIdx.x] + exclusive_scan(s, count_run(a.mask, begin, a.numel), total);
  GS_NO_UNROLL
  for (int v = 0; v < kMaskPerThread; ++v) {
    if (begin + v >= a.numel || !a.mask[begin + v]) continue;
    std::int64_t rest = begin + v;
    GS_NO_UNROLL
    for (int d = a.ndim - 1; d >= 0; --d) {
      a.out[row * a.ndim + d] = rest % a.shape[d];
      rest /= a.shape[d];
    }
    ++row;
  }
}

int too_many(const char* what, std::int64_t n) {
  return fail(kFailed, std::string(what) + ": " + std::to_string(n) + " elements are too many");
}

int scan_counts(std::int64_t* counts, std::int64_t n, bool with_total, void* stream) {
  return launch("scan", scan_counts_kernel, dim3(1), dim3(kScanThreads), sizeof(ScanShared), stream,
                counts, n, with_total);
}

}  // namespace

int scatter_add(const ScatterAddArgs& a, void* stream) {
  switch (a.dst.dtype) {
    case DType::f32:
      return launch_lines<float>(a, stream);
    case DType::f64:
      return launch_lines<double>(a, stream);
    case DType::i64:
      return launch_lines<std::int64_t>(a, stream);
    default:
      return refuse("scatter_add", a.dst.dtype);
  }
}

int index_keys(const IndexKeysArgs& a, void* stream) {
  std::int64_t strides[kMaxDims];
  for (int d = 0; d < a.ndim; ++d) strides[d] = d == a.axis ? 0 : a.strides[d];
  const KeysParams p{make_walk<2>(a.ndim, a.shape, {strides, a.index.strides}), a.keys,
                     static_cast<const std::int64_t*>(a.index.data), a.strides[a.axis],
                     a.axis_size};
  return launch_elements("index_keys", index_keys_kernel, p.walk.numel, 4, stream, p);
}

int sort_keys(const SortKeysArgs& a, void* stream) {
  if (a.n == 0) return kOk;
  const std::int64_t tiles = (a.n + kSortTile - 1) / kSortTile;
  if (tiles > kMaxGridX) return too_many("sort_keys", a.n);
  int passes = 1;
  while (passes * kDigitBits < 63 && (a.bound - 1) >> (passes * kDigitBits)) ++passes;
  const std::int64_t *keys = a.keys, *order = nullptr;
  for (int pass = 0; pass < passes; ++pass) {
    const bool spare = (passes - 1 - pass) % 2;  // the last pass writes the result
    std::int64_t* const keys_out = spare ? a.sorted_spare : a.sorted;
    std::int64_t* const order_out = spare ? a.order_spare : a.order;
    const int shift = pass * kDigitBits;
    const dim3 grid{unsigned(tiles)}, block(kScanThreads);
    int status = launch("sort_keys", count_digits_kernel, grid, block, sizeof(CountShared), stream,
                        keys, a.n, shift, a.counts);
    if (!status) status = scan_counts(a.counts, kDigits * tiles, false, stream);
    if (!status)
      status = launch("sort_keys", place_keys_kernel, grid, block, sizeof(PlaceShared), stream,
                      keys, order, a.n, shift, static_cast<const std::int64_t*>(a.counts), keys_out,
                      order_out);
    if (status) return status;
    keys = keys_out;
    order = order_out;
  }
  return kOk;
}

int scatter_sorted(const ScatterSortedArgs& a, void* stream) {
  if (a.n == 0) return kOk;
  if (a.add) {
    switch (a.dst.dtype) {
      case DType::f32:
        return launch_runs<float, true>(a, stream);
      case DType::f64:
        return launch_runs<double, true>(a, stream);
      case DType::i64:
        return launch_runs<std::int64_t, true>(a, stream);
      default:
        return refuse("index_add", a.dst.dtype);
    }
  }
  switch (itemsize(a.dst.dtype)) {
    case 1:
      return launch_runs<std::uint8_t, false>(a, stream);
    case 2:
      return launch_runs<std::uint16_t, false>(a, stream);
    case 4:
      return launch_runs<std::uint32_t, false>(a, stream);
    default:
      return launch_runs<std::uint64_t, false>(a, stream);
  }
}

int nonzero_count(const NonzeroCountArgs& a, void* stream) {
  const std::int64_t tiles = nonzero_tiles(a.numel);
  if (tiles > kMaxGridX) return too_many("nonzero", a.numel);
  if (tiles > 0) {
    const int status =
        launch("nonzero", nonzero_count_kernel, dim3(unsigned(tiles)), dim3(kScanThreads),
               sizeof(ScanShared), stream, a.mask, a.numel, a.starts);
    if (status) return status;
  }
  return scan_counts(a.starts, tiles, true, stream);
}

int nonzero_write(const NonzeroWriteArgs& a, void* stream) {
  const std::int64_t tiles = nonzero_tiles(a.numel);
  if (tiles == 0) return kOk;
  return launch("nonzero", nonzero_write_kernel, dim3(unsigned(tiles)), dim3(kScanThreads),
                sizeof(ScanShared), stream, a);
}

}  // namespace gradsmith::cuda
