// The walk of a reduction over any strided array, shared by every fold.
//
// Contract    see cuda_abi_rows.h and reduce.h; the accumulators are those of the CPU.
// Algorithm   layout.h brings the call to the fewest dimensions. A team of threads (see
//             cuda/reduce.cuh) takes each output, or each of the chunks that a long reduction is
//             cut into where there are few outputs; a second kernel joins the chunks, a warp an
//             output. The chunks depend on the shape alone and nothing is added atomically: the
//             bits are the same in every run and on every device.
// Bound       x is read once: bytes / bandwidth. A thread has 8 elements in flight, in loads of 16
//             bytes where x is aligned and contiguous.
#pragma once
#include <string>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/reduce/layout.h"

namespace gradsmith::cuda {

struct FoldDims {
  int count;
  std::int64_t size[kMaxDims], stride[kMaxDims], out_stride[kMaxDims];
};

// Of element number `index`, row-major.
inline __device__ std::int64_t offset_in(const FoldDims& dims, std::int64_t index,
                                         const std::int64_t (&strides)[kMaxDims]) {
  if (dims.count == 1) return index * strides[0];
  std::int64_t at = 0;
  GS_NO_UNROLL
  for (int d = dims.count - 1; d >= 0; --d) {
    const std::int64_t size = dims.size[d];
    std::int64_t next;
    if (index <= 0xffffffffll && size <= 0xffffffffll)
      next = std::uint32_t(index) / std::uint32_t(size);
    else
      next = index / size;
    at += (index - next * size) * strides[d];
    index = next;
  }
  return at;
}

struct FoldWalk {
  FoldDims kept, reduced;
  std::int64_t outputs, elements, chunk;  // elements per chunk
  std::int64_t chunks;
  Team team;
  bool packed;
};

inline constexpr int kInFlight = 8;

// acc = fold of the elements of one chunk of one output. Where V > 1, elements are taken in groups
// of V neighbours, whether or not they can be loaded in one go.
template <class Fold, class T, int V>
__global__ void __launch_bounds__(kTeamThreads)
    fold_kernel(FoldWalk w, Fold fold, const T* x, typename Fold::Acc* partial) {
  constexpr int U = kInFlight / V;
  static_assert(U >= 1);
  GS_SHARED(TeamShared, shared);
  const std::int64_t output = w.team.row();
  const bool active = output < w.outputs;
  const std::int64_t begin = blockIdx.y * w.chunk;
  const std::int64_t rest = w.elements - begin;
  const std::int64_t end = active ? begin + (rest < w.chunk ? rest : w.chunk) : begin;
  const T* const from = x + (active ? offset_in(w.kept, output, w.kept.stride) : 0);
  const std::int64_t step = std::int64_t(w.team.size) * V;

  auto acc = fold.start();
  for (std::int64_t first = begin + std::int64_t(w.team.rank()) * V; first < end;
       first += step * U) {
    T values[kInFlight];
    int count = 0;
    GS_UNROLL
    for (int u = 0; u < U; ++u) {
      const std::int64_t e = first + u * step;
      if (V > 1 && w.packed && e + V <= end) {
        *reinterpret_cast<Pack<T, V>*>(values + u * V) =
            *reinterpret_cast<const Pack<T, V>*>(from + offset_in(w.reduced, e, w.reduced.stride));
        count += V;
      } else {
        GS_UNROLL
        for (int v = 0; v < V; ++v) {
          values[u * V + v] = T(0);
          if (e + v < end) {
            values[u * V + v] = from[offset_in(w.reduced, e + v, w.reduced.stride)];
            ++count;
          }
        }
      }
    }
    // The elements there are come first: whole groups, then a part of one.
    fold.add(acc, values, count, [=](int i) { return first + std::int64_t(i / V) * step + i % V; });
  }
  const auto join = [&](const auto& a, const auto& b) { return fold.join(a, b); };
  acc = w.team.fold(shared, acc, join);
  if (!active || w.team.rank() != 0) return;
  if (partial)
    partial[output * w.chunks + blockIdx.y] = acc;
  else
    fold.finish(acc, offset_in(w.kept, output, w.kept.out_stride));
}

// A team joins the chunks of each output.
template <class Fold>
__global__ void __launch_bounds__(kTeamThreads)
    join_kernel(FoldWalk w, Fold fold, const typename Fold::Acc* partial) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t output = w.team.row();
  const bool active = output < w.outputs;
  auto acc = fold.start();
  for (std::int64_t c = w.team.rank(); active && c < w.chunks; c += w.team.size)
    acc = fold.join(acc, partial[output * w.chunks + c]);
  const auto join = [&](const auto& a, const auto& b) { return fold.join(a, b); };
  acc = w.team.fold(shared, acc, join);
  if (active && w.team.rank() == 0) fold.finish(acc, offset_in(w.kept, output, w.kept.out_stride));
}

inline constexpr std::int64_t kLeastChunk = 8192, kMostChunks = 1024;
inline constexpr std::int64_t kEnoughBlocks = 1024;  // several for each multiprocessor

// How many chunks to cut n elements into when `blocks` blocks are there without.
inline std::int64_t chunks_for(std::int64_t n, std::int64_t blocks) {
  if (blocks >= kEnoughBlocks || n <= 2 * kLeastChunk) return 1;
  std::int64_t chunks = (n + kLeastChunk - 1) / kLeastChunk;
  const std::int64_t wanted = (kEnoughBlocks + blocks - 1) / blocks;
  if (chunks > wanted) chunks = wanted;
  return chunks < kMostChunks ? chunks : kMostChunks;
}

// Cuts w.elements; sets team, chunk and chunks.
inline void cut(FoldWalk& w, bool across, std::int64_t columns) {
  w.team = make_team(w.elements, across, columns);
  w.chunks = chunks_for(w.elements, team_blocks(w.team, w.outputs));
  w.chunk = (w.elements + w.chunks - 1) / w.chunks;
  if (w.chunks == 1) return;
  w.chunk = (w.chunk + 31) / 32 * 32;  // whole packs
  w.chunks = (w.elements + w.chunk - 1) / w.chunk;
  w.team = make_team(w.chunk, across, columns);
}

inline FoldWalk fold_walk(const kernels::ReduceLayout& layout, std::size_t item) {
  FoldWalk w{};
  const auto list = [](FoldDims& to, const kernels::DimList& from) {
    to.count = from.count;
    for (int d = 0; d < from.count; ++d) {
      to.size[d] = from.dim[d].size;
      to.stride[d] = from.dim[d].stride;
      to.out_stride[d] = from.dim[d].out_stride;
    }
  };
  list(w.kept, layout.kept);
  list(w.reduced, layout.reduced);
  w.outputs = layout.outputs;
  w.elements = layout.elements;
  const bool rows = layout.by_rows();
  cut(w, !rows, w.kept.count ? w.kept.size[w.kept.count - 1] : 1);
  const auto whole = [&](std::int64_t n) { return n * std::int64_t(item) % 16 == 0; };
  w.packed = rows && aligned16(layout.x) && w.reduced.stride[w.reduced.count - 1] == 1;
  for (int d = 0; d < w.kept.count; ++d) w.packed = w.packed && whole(w.kept.stride[d]);
  for (int d = 0; d + 1 < w.reduced.count; ++d) w.packed = w.packed && whole(w.reduced.stride[d]);
  if (w.reduced.count > 1) w.packed = w.packed && whole(w.reduced.size[w.reduced.count - 1]);
  return w;
}

template <class Fold>
int launch_join(const char* what, FoldWalk w, const Fold& fold, const typename Fold::Acc* partial,
                void* stream) {
  w.team = make_team(w.chunks, false);
  return launch_teams(what, join_kernel<Fold>, w.team, w.outputs, 1, stream, w, fold, partial);
}

template <class T, class Fold>
int run_fold(const char* what, const kernels::ReduceLayout& layout, const Fold& fold,
             void* stream) {
  constexpr int kV = 16 / int(sizeof(T)) < kInFlight ? 16 / int(sizeof(T)) : kInFlight;
  const FoldWalk w = fold_walk(layout, kV * sizeof(T) == 16 ? sizeof(T) : 2 * sizeof(T));
  const T* x = reinterpret_cast<const T*>(layout.x);
  Scratch scratch(stream);
  if (w.chunks > 1)
    if (const int s =
            scratch.allocate(std::size_t(w.outputs * w.chunks) * sizeof(typename Fold::Acc)))
      return s;
  auto* partial = static_cast<typename Fold::Acc*>(scratch.data());
  const int status = w.team.across ? launch_teams(what, fold_kernel<Fold, T, 1>, w.team, w.outputs,
                                                  w.chunks, stream, w, fold, x, partial)
                                   : launch_teams(what, fold_kernel<Fold, T, kV>, w.team, w.outputs,
                                                  w.chunks, stream, w, fold, x, partial);
  if (status || w.chunks == 1) return status;
  return launch_join(what, w, fold, partial, stream);
}

}  // namespace gradsmith::cuda
