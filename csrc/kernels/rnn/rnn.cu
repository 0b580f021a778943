// The recurrence of LSTM, GRU and plain RNN on CUDA, forward and backward; see RnnArgs.
//
// Formula     rnn.h has it. Forward, a step is sums = W_hh h, then the cell. Backward it is
//             dh = W_hh^T d of the step after, then the cell's slopes. Both are a product of a few
//             columns per hidden unit with the batch, and something of that unit alone.
// Contract    see RnnArgs in cuda_abi_rows.h. A sum over the hidden units is cut by their number
//             alone: an element's bits depend neither on the batch nor on how blocks are launched.
// Algorithm   A block owns 8 hidden units: the rows (backward: columns) of W_hh that they take.
//             Its warps share out 4 columns x a part of the depth each, against 8 batch elements;
//             a lane sums every 32nd pack of depth into 32 registers, and 31 shuffles leave one sum
//             in each lane. Then a thread per unit and batch element finishes the cell.
//             Where all blocks fit on the device at once, one launch does the whole sequence: the
//             weights are read into shared memory once and blocks meet at a grid barrier after each
//             step. Else each step is a launch, which reads weights in chunks.
// Constants   4 x 8: 12 loads of 16 bytes for 128 multiply-adds. 8 units: 128 blocks of 131 KB for
//             an LSTM of 1024 units, one each on most multiprocessors of an H100. Groups of 8 batch
//             elements go to other blocks as long as the device holds more.
// Measured    nothing yet: never run on a GPU.
#include <cstring>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/elementwise/activation.cuh"

namespace gradsmith::cuda {
namespace {

constexpr int kRnnThreads = 256, kWarps = kRnnThreads / 32;
constexpr int kUnits = 8, kBatchTile = 8, kColumns = 4;
constexpr int kSums = kColumns * kBatchTile;
static_assert(kSums == 32, "one sum for each lane");
template <class T>
constexpr int kVector = 16 / int(sizeof(T));
template <class T>
constexpr int kChunk = 2048 / int(sizeof(T));  // of the depth

__device__ __host__ inline int gates_of(RnnKind kind) {
  return kind == RnnKind::lstm ? 4 : kind == RnnKind::gru ? 3 : 1;
}
__device__ inline int saved_gates_of(RnnKind kind) {
  return kind == RnnKind::lstm || kind == RnnKind::gru ? 4 : 1;
}

// In front of the weights [columns, depth or a chunk] and the batch tile [kBatchTile, chunk].
template <class T>
struct alignas(16) RnnShared {
  T sums[kWarps][kSums];
};

// Times in the order of the pass; outside of the sequence nobody takes part.
struct Times {
  const RnnArgs& a;
  __device__ std::int64_t time(std::int64_t position) const {
    return a.reverse == a.backward ? position : a.steps - 1 - position;
  }
  __device__ std::int64_t size(std::int64_t t) const {
    if (t < 0 || t >= a.steps) return 0;
    return a.starts ? a.starts[t + 1] - a.starts[t] : a.batch;
  }
  __device__ std::int64_t row(std::int64_t t, std::int64_t b) const {
    return (a.starts ? a.starts[t] : t * a.batch) + b;
  }
};

// How a block's product is laid out: columns of weights by depth.
struct Layout {
  int columns;
  std::int64_t depth;
  int chunk;            // of the depth: a batch tile at a time
  std::int64_t padded;  // depth of the weights that are in shared memory
  bool resident;        // all of them
  bool packs;           // what is multiplied moves 16 bytes at a time

  __device__ int groups() const { return (columns + kColumns - 1) / kColumns; }
  __device__ int parts() const { return kWarps / groups(); }
};

template <class T>
__device__ const T* typed(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
__device__ T* typed(void* p) {
  return static_cast<T*>(p);
}

// Weights of depth [from, from + count), zeros where there are none.
template <class T>
__device__ void stage_weights(const RnnArgs& a, const Layout& l, std::int64_t unit0, T* weights,
                              std::int64_t from, std::int64_t count) {
  const T* const w = typed<T>(a.w_hh);
  const std::int64_t all = std::int64_t(l.columns) * count;
  for (std::int64_t i = threadIdx.x; i < all; i += kRnnThreads) {
    // Neighbouring threads read neighbours in memory: of the depth, backward of the units.
    const std::int64_t c = a.backward ? i % l.columns : i / count;
    const std::int64_t k = a.backward ? i / l.columns : i % count;
    const std::int64_t unit = unit0 + c % kUnits, depth = from + k;
    T value = 0;
    if (unit < a.hidden && depth < l.depth)
      value = a.backward ? w[depth * a.hidden + unit]
                         : w[(c / kUnits * a.hidden + unit) * a.hidden + depth];
    weights[c * l.padded + k] = value;
  }
}

// What is multiplied: the states (backward: the gates' gradients) of the step that the pass comes
// from. Other blocks may just have written it.
template <class T>
__device__ void stage_batch(const RnnArgs& a, const Layout& l, std::int64_t from_time,
                            std::int64_t b0, std::int64_t end, T* tile, std::int64_t from) {
  const Times times{a};
  constexpr int V = kVector<T>;
  const std::int64_t before = times.size(from_time);
  const int each = l.chunk / V;
  for (int i = int(threadIdx.x); i < kBatchTile * each; i += kRnnThreads) {
    const std::int64_t b = b0 + i / each, depth = from + i % each * V;
    const T* source = nullptr;
    if (b < before)
      source = typed<T>(a.backward ? a.d_hidden : a.y) + times.row(from_time, b) * l.depth;
    else if (b < end && !a.backward)
      source = typed<T>(a.h0) + b * l.depth;
    Pack<T, V> values{};
    if (source && l.packs && depth < l.depth) {
      const int4 bits = __ldcg(reinterpret_cast<const int4*>(source + depth));
      memcpy(&values, &bits, sizeof(values));
    } else if (source) {
      for (int v = 0; v < V; ++v)
        if (depth + v < l.depth) values.v[v] = __ldcg(source + depth + v);
    }
    *reinterpret_cast<Pack<T, V>*>(tile + i / each * l.chunk + i % each * V) = values;
  }
}

// Adds this warp's part of one chunk to its sums.
template <class T>
__device__ void multiply(const Layout& l, int group, int part, const T* weights, const T* tile,
                         T (&sums)[kSums]) {
  constexpr int V = kVector<T>;
  const int lane = int(threadIdx.x) % 32;
  for (int k = (part * 32 + lane) * V; k < l.chunk; k += l.parts() * 32 * V) {
    Pack<T, V> w[kColumns];
    GS_UNROLL
    for (int c = 0; c < kColumns; ++c)
      w[c] = *reinterpret_cast<const Pack<T, V>*>(weights + (group * kColumns + c) * l.padded + k);
    GS_UNROLL
    for (int b = 0; b < kBatchTile; ++b) {
      const auto h = *reinterpret_cast<const Pack<T, V>*>(tile + b * l.chunk + k);
      GS_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        GS_UNROLL
        for (int v = 0; v < V; ++v)
          sums[c * kBatchTile + b] = ::fma(w[c].v[v], h.v[v], sums[c * kBatchTile + b]);
      }
    }
  }
}

// One round of sum_of_lane: lanes keep half of their sums, to which they add their partner's.
template <int kHalf, class T>
__device__ void halve(T (&sums)[kSums]) {
  const bool upper = threadIdx.x & kHalf;
  GS_UNROLL
  for (int i = 0; i < kHalf; ++i) {
    const T sent = upper ? sums[i] : sums[i + kHalf];
    sums[i] = (upper ? sums[i + kHalf] : sums[i]) + __shfl_xor_sync(0xffffffffu, sent, kHalf);
  }
}
// The sum over the warp's lanes of sums[lane].
template <class T>
__device__ T sum_of_lane(T (&sums)[kSums]) {
  halve<16>(sums);
  halve<8>(sums);
  halve<4>(sums);
  halve<2>(sums);
  halve<1>(sums);
  return sums[0];
}

// The block's sum of `column` with batch element `b` of the tile.
template <class T>
__device__ T total(const RnnShared<T>& s, const Layout& l, int column, int b) {
  T sum = 0;
  for (int part = 0; part < l.parts(); ++part)
    sum += s.sums[part * l.groups() + column / kColumns][column % kColumns * kBatchTile + b];
  return sum;
}

template <class T>
__device__ void forward_cell(const RnnArgs& a, const RnnShared<T>& s, const Layout& l,
                             std::int64_t position, std::int64_t b0, int u, int b, std::int64_t j) {
  const Times times{a};
  const std::int64_t element = b0 + b, t = times.time(position);
  if (element >= times.size(t)) return;
  const std::int64_t row = times.row(t, element), n = a.hidden;
  T* const gate = typed<T>(a.gates) + row * saved_gates_of(a.kind) * n + j;
  const auto from_state = [&](int g) {
    const T bias = a.b_hh ? typed<T>(a.b_hh)[g * n + j] : T(0);
    return total(s, l, g * kUnits + u, b) + bias;
  };
  T h;
  switch (a.kind) {
    case RnnKind::lstm: {
      const T i = sigmoid_of(gate[0] + from_state(0)), f = sigmoid_of(gate[n] + from_state(1));
      const T g = ::tanh(gate[2 * n] + from_state(2)), o = sigmoid_of(gate[3 * n] + from_state(3));
      T& c = typed<T>(a.c)[element * n + j];
      c = f * c + i * g;
      if (a.cells) typed<T>(a.cells)[row * n + j] = c;
      gate[0] = i;
      gate[n] = f;
      gate[2 * n] = g;
      gate[3 * n] = o;
      h = o * ::tanh(c);
      break;
    }
    case RnnKind::gru: {
      const T r = sigmoid_of(gate[0] + from_state(0)), z = sigmoid_of(gate[n] + from_state(1));
      const T m = from_state(2), v = ::tanh(gate[2 * n] + r * m);
      const std::int64_t from = times.time(position - 1);
      const T* const old = element < times.size(from) ? typed<T>(a.y) + times.row(from, element) * n
                                                      : typed<T>(a.h0) + element * n;
      gate[0] = r;
      gate[n] = z;
      gate[2 * n] = v;
      gate[3 * n] = m;
      h = (T(1) - z) * v + z * __ldcg(old + j);
      break;
    }
    default: {
      const T sum = gate[0] + from_state(0);
      h = a.kind == RnnKind::rnn_tanh ? ::tanh(sum) : sum < 0 ? T(0) : sum;
      gate[0] = h;
    }
  }
  typed<T>(a.y)[row * n + j] = h;
}

template <class T>
__device__ void backward_cell(const RnnArgs& a, const RnnShared<T>& s, const Layout& l,
                              std::int64_t position, std::int64_t b0, int u, int b,
                              std::int64_t j) {
  const Times times{a};
  const std::int64_t element = b0 + b, t = times.time(position), n = a.hidden;
  const bool takes_part = element < times.size(t);
  const bool after = element < times.size(times.time(position - 1));
  if (!takes_part && !after) return;
  T& dh = typed<T>(a.dh)[element * n + j];
  const T arrived = dh + (after ? total(s, l, u, b) : T(0));
  dh = arrived;
  if (!takes_part) return;  // its first step is done
  const std::int64_t row = times.row(t, element);
  const T out = arrived + (a.dy ? typed<T>(a.dy)[row * n + j] : T(0));
  const T* const gate = typed<T>(a.gates) + row * saved_gates_of(a.kind) * n + j;
  T* const d = typed<T>(a.d_in) + row * gates_of(a.kind) * n + j;
  const std::int64_t before = times.time(position + 1);  // in the order of the steps
  // Of the state before this step.
  const auto old = [&](const void* states, const void* first) {
    return element < times.size(before) ? typed<T>(states)[times.row(before, element) * n + j]
                                        : typed<T>(first)[element * n + j];
  };
  switch (a.kind) {
    case RnnKind::lstm: {
      const T i = gate[0], f = gate[n], g = gate[2 * n], o = gate[3 * n];
      const T squashed = ::tanh(typed<T>(a.cells)[row * n + j]);
      T& dc = typed<T>(a.dc)[element * n + j];
      const T cell = dc + out * o * (T(1) - squashed * squashed);
      d[0] = cell * g * i * (T(1) - i);
      d[n] = cell * old(a.cells, a.c0) * f * (T(1) - f);
      d[2 * n] = cell * i * (T(1) - g * g);
      d[3 * n] = out * squashed * o * (T(1) - o);
      dc = cell * f;
      dh = 0;
      break;
    }
    case RnnKind::gru: {
      const T r = gate[0], z = gate[n], v = gate[2 * n], m = gate[3 * n];
      const T inner = out * (T(1) - z) * (T(1) - v * v);
      T* const hidden = typed<T>(a.d_hidden) + row * 3 * n + j;
      d[0] = hidden[0] = inner * m * r * (T(1) - r);
      d[n] = hidden[n] = out * (old(a.y, a.h0) - v) * z * (T(1) - z);
      d[2 * n] = inner;
      hidden[2 * n] = inner * r;
      dh = out * z;
      break;
    }
    default: {
      const T y = gate[0];
      d[0] = a.kind == RnnKind::rnn_tanh ? out * (T(1) - y * y) : y > 0 ? out : T(0);
      dh = 0;
    }
  }
}

// Positions [first, first + count) of the pass; backward there is one more than there are steps,
// in which the initial states get their gradients.
template <class T>
__global__ void __launch_bounds__(kRnnThreads)
    rnn_kernel(RnnArgs a, Layout l, std::int64_t first, std::int64_t count, unsigned* arrived) {
  using Shared = RnnShared<T>;
  GS_SHARED(Shared, s);
  T* const weights = reinterpret_cast<T*>(&s + 1);
  T* const tile = weights + l.columns * l.padded;
  const Times times{a};
  const std::int64_t unit0 = std::int64_t(blockIdx.x) * kUnits;
  const int warp = int(threadIdx.x) / 32;
  const int group = warp % l.groups(), part = warp / l.groups();
  const int u = int(threadIdx.x) % kUnits, b = int(threadIdx.x) / kUnits;
  if (l.resident) stage_weights(a, l, unit0, weights, 0, l.padded);

  for (std::int64_t position = first; position < first + count; ++position) {
    const std::int64_t from_time = times.time(position - 1);
    const std::int64_t here = times.size(times.time(position)), before = times.size(from_time);
    const std::int64_t end = a.backward && before > here ? before : here;
    for (std::int64_t b0 = blockIdx.y * kBatchTile; b0 < end; b0 += gridDim.y * kBatchTile) {
      T sums[kSums] = {};
      for (std::int64_t from = 0; from < l.depth; from += l.chunk) {
        __syncthreads();  // the chunk and the sums before are done with
        if (!l.resident) stage_weights(a, l, unit0, weights, from, l.chunk);
        stage_batch(a, l, from_time, b0, end, tile, from);
        __syncthreads();
        if (part < l.parts())
          multiply(l, group, part, weights + (l.resident ? from : 0), tile, sums);
      }
      const T sum = sum_of_lane(sums);
      s.sums[warp][threadIdx.x % 32] = sum;
      __syncthreads();
      if (b >= kBatchTile || unit0 + u >= a.hidden) continue;
      if (a.backward)
        backward_cell(a, s, l, position, b0, u, b, unit0 + u);
      else
        forward_cell(a, s, l, position, b0, u, b, unit0 + u);
    }
    if (position + 1 < first + count)
      grid_barrier(arrived + blockIdx.y, gridDim.x, unsigned(position - first + 1));
  }
}

template <class T>
std::size_t shared_bytes(const Layout& l) {
  return sizeof(RnnShared<T>) +
         std::size_t(l.columns * l.padded + kBatchTile * l.chunk) * sizeof(T);
}

template <class T>
int launch_rnn(const RnnArgs& a, void* stream) {
  const std::int64_t positions = a.steps + (a.backward ? 1 : 0);
  if (a.hidden == 0 || a.batch == 0 || positions == 0) return kOk;
  const std::int64_t unit_blocks = (a.hidden + kUnits - 1) / kUnits;
  const std::int64_t tiles = (a.batch + kBatchTile - 1) / kBatchTile;
  if (unit_blocks > kMaxGridX)
    return fail(kFailed, "rnn: " + std::to_string(a.hidden) + " hidden units are too many");
  const int gates = gates_of(a.kind);
  Layout l{a.backward ? kUnits : kUnits * gates,
           a.backward ? gates * a.hidden : a.hidden,
           0,
           0,
           true,
           false};
  l.packs = l.depth % kVector<T> == 0 && aligned16(a.y) && aligned16(a.h0) && aligned16(a.d_hidden);
  const std::int64_t chunks = (l.depth + kChunk<T> - 1) / kChunk<T>;
  l.chunk = kChunk<T>;
  if (chunks == 1) l.chunk = int((l.depth + kVector<T> - 1) / kVector<T> * kVector<T>);
  l.padded = chunks * l.chunk;

  std::int64_t fit = 0;
  if (positions > 1) {
    const int status = resident_blocks("rnn", rnn_kernel<T>, kRnnThreads, shared_bytes<T>(l), &fit);
    if (status) return status;
  }
  if (fit >= unit_blocks) {
    const std::int64_t groups = fit / unit_blocks < tiles ? fit / unit_blocks : tiles;
    Scratch counters(stream);
    const std::size_t bytes = std::size_t(groups) * sizeof(unsigned);
    if (const int status = counters.allocate(bytes)) return status;
    auto* const arrived = static_cast<unsigned*>(counters.data());
    if (const int status =
            check("rnn", cudaMemsetAsync(arrived, 0, bytes, static_cast<cudaStream_t>(stream))))
      return status;
    return launch_together("rnn", rnn_kernel<T>, dim3(unsigned(unit_blocks), unsigned(groups)),
                           dim3(kRnnThreads), {.grid = true}, shared_bytes<T>(l), stream, a, l,
                           std::int64_t(0), positions, arrived);
  }
  l.resident = chunks == 1;
  l.padded = l.chunk;
  const dim3 grid(unsigned(unit_blocks), unsigned(tiles < kMaxGridZ ? tiles : kMaxGridZ));
  for (std::int64_t position = 0; position < positions; ++position) {
    const int status =
        launch("rnn", rnn_kernel<T>, grid, dim3(kRnnThreads), shared_bytes<T>(l), stream, a, l,
               position, std::int64_t(1), static_cast<unsigned*>(nullptr));
    if (status) return status;
  }
  return kOk;
}

}  // namespace

int rnn(const RnnArgs& a, void* stream) {
  return a.dtype == DType::f32 ? launch_rnn<float>(a, stream) : launch_rnn<double>(a, stream);
}

}  // namespace gradsmith::cuda
