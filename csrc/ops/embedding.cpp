// Rows of a table by index; the gradient adds rows back, leaving out padding_idx.
#include "ops/dispatch_index.h"

namespace gradsmith::ops {

Tensor embedding(const Tensor& input, const Tensor& weight,
                 const std::optional<std::int64_t>& padding_idx) {
  check_class_index("embedding", "input", input);
  check_rank("embedding", "weight", weight, 2);
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
  const std::int64_t bad = dispatch::bad_index(index, 0, rows);  // unlike indexing, none negative
  GS_CHECK_INDEX(bad < 0, "embedding: index {} at position {} is out of range for {} rows",
                 bad < 0 ? 0 : to_device(index, {}).data_as<std::int64_t>()[bad], bad, rows);
  Dims shape = input.shape();
  shape.push_back(columns);
  const Tensor table = contiguous(weight.detach());
  Tensor y = empty(shape, weight.dtype(), weight.device());
  dispatch::take_rows(y, table, index);
  if (!tracked(weight)) return y;
  return record("embedding", y, {weight}, [=, index = save(index)](const Grads& g) {
    const Tensor& at = index.unpack(g);
    Tensor rows_of_g = reshape(g[0], {at.numel(), columns});
    if (skip >= 0)
      rows_of_g = masked_fill(rows_of_g, unsqueeze(eq(at, Operand(skip)), 1), Operand(0.0));
    return grads(index_add(zeros({rows, columns}, g[0].dtype(), g[0].device()), 0, at, rows_of_g));
  });
}

}  // namespace gradsmith::ops
