// compressed-tensors, pack-quantized and int-quantized: weight_packed int32 [N, K·b/32] along K, codes plus
// 2^(b-1); weight_scale [N, G]; weight_zero_point int32 [N·b/32, G] along N, likewise; weight_g_idx int32 [K]. At 3 bits codes run from
// one word into the next, as version 0.20 packs them; the ten a word of earlier versions make other shapes, which are refused.
#include <algorithm>

#include "coordinator/import/linear_reader.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

class CompressedTensorsReader final : public LinearReader {
 public:
  explicit CompressedTensorsReader(const Checkpoint& checkpoint) {
    const json& said = checkpoint.quantization();
    const auto groups = said.find("config_groups");
    if (groups == said.end() || !groups->is_object() || groups->size() != 1)
      refuse(checkpoint, "expected \"config_groups\" with one group: one scheme for all linears is read");
    const json& group = groups->begin().value();
    const auto weights = group.is_object() ? group.find("weights") : group.end();
    if (weights == group.end() || !weights->is_object()) refuse(checkpoint, "the group has no \"weights\"");
    for (const char* key : {"input_activations", "output_activations"})
      if (const auto found = group.find(key); found != group.end() && !found->is_null())
        refuse(checkpoint, std::string("\"") + key + "\" are quantized, which is not read");
    if (const auto sparsity = said.find("sparsity_config"); sparsity != said.end() && !sparsity->is_null() && !sparsity->empty())
      refuse(checkpoint, "\"sparsity_config\" is not read");
    const std::string format = text_of(checkpoint, group, "format", text_of(checkpoint, said, "format", ""));
    if (format != "pack-quantized" && format != "int-quantized")
      refuse(checkpoint, "\"format\" is \"" + format + "\"; \"pack-quantized\" and \"int-quantized\" are read");
    integers_ = format == "int-quantized";
    bits_ = static_cast<std::uint32_t>(integer_of(checkpoint, *weights, "num_bits", 1, 16));
    if (text_of(checkpoint, *weights, "type", "int") != "int") refuse(checkpoint, "\"type\" is not \"int\"");
    if (bits_ != 8 && (integers_ || (bits_ != 4 && bits_ != 3))) refuse(checkpoint, std::to_string(bits_) + " bits; 8, and packed 4 and 3, are read");
    symmetric_ = flag_of(checkpoint, *weights, "symmetric", true);
    if (integers_ && !symmetric_) refuse(checkpoint, "int-quantized weights with zero points are not read");
    const std::string strategy = text_of(checkpoint, *weights, "strategy", "group");
    if (strategy == "group")
      group_size_ = static_cast<std::int32_t>(integer_of(checkpoint, *weights, "group_size", 1, 1 << 20));
    else if (strategy != "channel")
      refuse(checkpoint, "\"strategy\" is \"" + strategy + "\"; \"group\" and \"channel\" are read");
  }
  QuantizeSpec recipe() const override {
    QuantizeSpec recipe;
    recipe.method = integers_ && group_size_ < 0 ? Method::int8 : Method::rtn;
    recipe.bits = bits_;
    recipe.group_size = group_size_;
    recipe.symmetric = symmetric_;
    return recipe;
  }
  bool holds(const Checkpoint& checkpoint, const LinearShape& linear) const override { return checkpoint.has(linear.tensor + "_scale"); }

  TensorRecord take(Checkpoint& checkpoint, const LinearShape& linear, const PutChunk& put) const override {
    const std::uint64_t outputs = linear.outputs, inputs = linear.inputs;
    GridLinear grid = empty_grid(linear, bits_, group_size_);
    const std::uint64_t groups = grid.scales.size() / outputs;
    if (const std::string tensor = linear.tensor + "_g_idx"; checkpoint.has(tensor)) grid.columns = columns_by_group(checkpoint, tensor, grid);
    std::vector<std::uint8_t> codes = integers_ ? plain_codes(checkpoint, linear) : packed_codes(checkpoint, linear);
    if (grid.columns.empty()) {
      grid.codes = std::move(codes);
    } else {
      for (std::size_t output = 0; output < outputs; ++output)
        for (std::size_t k = 0; k < inputs; ++k)
          grid.codes[output * inputs + k] = codes[output * inputs + static_cast<std::size_t>(grid.columns[k])];
    }
    grid.scales = checkpoint.scales(linear.tensor + "_scale", {outputs, groups});
    std::fill(grid.zeros.begin(), grid.zeros.end(), static_cast<std::uint8_t>(1u << (bits_ - 1)));
    const std::string zero_point = linear.tensor + "_zero_point";
    if (!symmetric_) {
      const std::uint64_t rows = (outputs * bits_ + 31) / 32;
      const auto words = checkpoint.values<std::uint32_t>(zero_point, DType::i32, {rows, groups});
      std::vector<std::uint32_t> zeros(outputs);
      for (std::size_t group = 0; group < groups; ++group) {
        unpack_bits(words.data() + group, groups, outputs, bits_, zeros.data());
        for (std::size_t output = 0; output < outputs; ++output)
          grid.zeros[output * groups + group] = static_cast<std::uint8_t>(zeros[output]);
      }
    } else if (checkpoint.has(zero_point)) {
      // Some versions write them for symmetric grids too; they say nothing but 0.
      for (const std::uint8_t byte : checkpoint.read(zero_point, 0, checkpoint.entry(zero_point).bytes))
        if (byte != 0) throw Error(ErrorCode::bad_input, checkpoint.place(zero_point) + " is not 0, but \"symmetric\" is true");
    }
    take_zero_bias(checkpoint, linear);
    return put_linear(linear, grid, put);
  }

 private:
  std::vector<std::uint8_t> packed_codes(Checkpoint& checkpoint, const LinearShape& linear) const {
    const std::uint64_t outputs = linear.outputs, inputs = linear.inputs, words = (inputs * bits_ + 31) / 32;
    const auto shape = checkpoint.values<std::int64_t>(linear.tensor + "_shape", DType::i64, {2});
    if (shape[0] != static_cast<std::int64_t>(outputs) || shape[1] != static_cast<std::int64_t>(inputs))
      throw Error(ErrorCode::bad_input, checkpoint.place(linear.tensor + "_shape") + " says " + std::to_string(shape[0]) + " x " +
                                            std::to_string(shape[1]) + "; config.json asks for " + std::to_string(outputs) + " x " + std::to_string(inputs));
    const auto packed = checkpoint.values<std::uint32_t>(linear.tensor + "_packed", DType::i32, {outputs, words});
    std::vector<std::uint8_t> codes(outputs * inputs);
    std::vector<std::uint32_t> row(inputs);
    for (std::size_t output = 0; output < outputs; ++output) {
      unpack_bits(packed.data() + output * words, 1, inputs, bits_, row.data());
      for (std::size_t k = 0; k < inputs; ++k) codes[output * inputs + k] = static_cast<std::uint8_t>(row[k]);
    }
    return codes;
  }
  std::vector<std::uint8_t> plain_codes(Checkpoint& checkpoint, const LinearShape& linear) const {
    auto codes = checkpoint.values<std::uint8_t>(linear.tensor, DType::i8, {linear.outputs, linear.inputs});
    for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(code + 128);
    return codes;
  }

  bool integers_ = false, symmetric_ = true;
  std::uint32_t bits_ = 4;
  std::int32_t group_size_ = -1;
};

}  // namespace

std::unique_ptr<LinearReader> compressed_tensors_reader(const Checkpoint& checkpoint) {
  return std::make_unique<CompressedTensorsReader>(checkpoint);
}

}  // namespace quench::coordinator
