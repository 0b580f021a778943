// Weights in the orders that the kernels want, made once a call or kept (runtime/kept.h).
#pragma once
#include "kernels/conv/conv.h"
#include "runtime/kept.h"

namespace gradsmith::kernels {

enum class KeptWeights : std::int64_t {
  forward = 1,
  adjoint,
  transposed,
  winograd,
  forward_lanes,
  adjoint_lanes
};

// All that the layout depends on, for prepared().
KeptKey weights_key(KeptWeights kind, DType dtype, const ConvShape& s, int width);

// For the direct input gradient: transposed[g][c][phase of the stride][o, i, j of that phase], see
// over_grad_phases.
void conv_transpose_weights(DType dtype, const ConvShape& s, void* transposed, const void* w);

// For ConvPacked, in panels of `width` rows: `adjoint` gives those of the input gradient. Takes
// groups * lines * (length of the sum) elements, lines as ConvPacked has them.
void conv_pack_weights(DType dtype, const ConvShape& s, bool adjoint, int width, std::int64_t lines,
                       void* packed, const void* w);

}  // namespace gradsmith::kernels
