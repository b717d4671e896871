// AWQ's GEMM format, 4 bits: qweight int32 [K, N/8], qzeros int32 [G, N/8], scales fp16 [G, N]; a word's lane i is column
// 8c + kAwqLanes[i] (export/awq.h); zeros as they are.
#include "coordinator/export/awq.h"
#include "coordinator/import/linear_reader.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class AwqReader final : public LinearReader {
 public:
  explicit AwqReader(const Checkpoint& checkpoint) {
    const nlohmann::json& said = checkpoint.quantization();
    // AutoAWQ's own names beside those of transformers.
    const bool own_names = said.contains("w_bit");
    if (integer_of(checkpoint, said, own_names ? "w_bit" : "bits", 1, 16) != 4) refuse(checkpoint, "only 4 bits are read");
    group_size_ = group_size_of(checkpoint, said, own_names ? "q_group_size" : "group_size");
    std::string version = text_of(checkpoint, said, "version", "gemm");
    for (char& c : version) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    if (version != "gemm") refuse(checkpoint, "\"version\" is \"" + version + "\"; \"gemm\" is read");
    if (!flag_of(checkpoint, said, "zero_point", true)) refuse(checkpoint, "\"zero_point\" is false; grids without zero points are not read");
  }
  QuantizeSpec recipe() const override {
    QuantizeSpec recipe;
    recipe.method = Method::awq;
    recipe.bits = 4;
    recipe.group_size = group_size_;
    recipe.symmetric = false;
    return recipe;
  }
  bool holds(const Checkpoint& checkpoint, const LinearShape& linear) const override {
    return checkpoint.has(stem_of(linear) + ".qweight");
  }

  TensorRecord take(Checkpoint& checkpoint, const LinearShape& linear, const PutChunk& put) const override {
    const std::string stem = stem_of(linear);
    const std::uint64_t outputs = linear.outputs, inputs = linear.inputs;
    if (outputs % 8 != 0)
      throw Error(ErrorCode::bad_input, checkpoint.place(stem + ".qweight") + ": " + std::to_string(outputs) + " outputs are no multiple of 8");
    GridLinear grid = empty_grid(linear, 4, group_size_);
    const std::uint64_t groups = grid.scales.size() / outputs;
    const auto spread = [&](const std::vector<std::uint32_t>& words, std::size_t rows, std::vector<std::uint8_t>& to) {
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t c = 0; c < outputs / 8; ++c)
          for (std::size_t lane = 0; lane < 8; ++lane)
            to[(8 * c + kAwqLanes[lane]) * rows + row] = static_cast<std::uint8_t>(words[row * (outputs / 8) + c] >> (4 * lane) & 15);
    };
    spread(checkpoint.values<std::uint32_t>(stem + ".qweight", DType::i32, {inputs, outputs / 8}), inputs, grid.codes);
    spread(checkpoint.values<std::uint32_t>(stem + ".qzeros", DType::i32, {groups, outputs / 8}), groups, grid.zeros);
    take_scales(checkpoint, linear, grid);
    take_zero_bias(checkpoint, linear);
    return put_linear(linear, grid, put);
  }

 private:
  std::int32_t group_size_ = -1;
};

}  // namespace

std::unique_ptr<LinearReader> awq_reader(const Checkpoint& checkpoint) { return std::make_unique<AwqReader>(checkpoint); }

}  // namespace quench::coordinator
