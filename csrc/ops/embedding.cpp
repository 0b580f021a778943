// Rows of a table by index; the gradient adds rows back, leaving out padding_idx.
#include "kernels/embedding/embedding.h"

#include "ops/common.h"

namespace gradsmith::ops {

Tensor embedding(const Tensor& input, const Tensor& weight,
                 const std::optional<std::int64_t>& padding_idx) {
  check_class_index("embedding", "input", input);
  check_rank("embedding", "weight", weight, 2);
  check_cpu("embedding", weight);
  check_same_device("embedding", input, weight);
  const std::int64_t rows = weight.size(0), columns = weight.size(1);
  std::int64_t skip = padding_idx.value_or(-1);
  if (padding_idx) {
    GS_CHECK(skip >= -rows && skip < rows,
             "embedding: argument 'padding_idx' must be in [{}, {}], got {}", -rows, rows - 1,
             skip);
    if (skip < 0) skip += rows;
  }
  const Tensor index = reshape(contiguous(input), {input.numel()});
  const auto* values = index.data_as<std::int64_t>();
  for (std::int64_t i = 0; i < index.numel(); ++i)  // unlike indexing, no negative ones
    GS_CHECK_INDEX(values[i] >= 0 && values[i] < rows,
                   "embedding: index {} at position {} is out of range for {} rows", values[i], i,
                   rows);
  Dims shape = input.shape();
  shape.push_back(columns);
  const Tensor table = contiguous(weight.detach());
  Tensor y = empty(shape, weight.dtype());
  if (y.numel() > 0)
    kernels::embedding_forward(weight.dtype(), {y.data(), table.data(), values, index.numel(),
                                                columns, columns, columns, rows});
  if (!tracked(weight)) return y;
  return record("embedding", y, {weight}, [=, index = save(index)](const Grads& g) {
    const Tensor& at = index.unpack(g);
    Tensor rows_of_g = reshape(g[0], {at.numel(), columns});
    if (skip >= 0)
      rows_of_g = masked_fill(rows_of_g, unsqueeze(eq(at, Operand(skip)), 1), Operand(0.0));
    return grads(index_add(zeros({rows, columns}, g[0].dtype()), 0, at, rows_of_g));
  });
}

}  // namespace gradsmith::ops
