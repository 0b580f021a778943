// The register tile of float32 and float64: tile.h.
#include "kernels/gemm/tile.h"

namespace gradsmith::kernels::GS_ISA {

void gemm_block_f32(const GemmBlock& args) { block<F32, Single>(args); }
void gemm_block_f64(const GemmBlock& args) { block<F64, Single>(args); }
void gemm_shape_f32(GemmShape& shape) { shape_of<F32>(shape); }
void gemm_shape_f64(GemmShape& shape) { shape_of<F64>(shape); }

}  // namespace gradsmith::kernels::GS_ISA
