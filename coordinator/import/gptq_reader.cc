// The GPTQ checkpoint format, versions 1 and 2 (export/gptq.h tells how it lies).
#include <algorithm>
#include <array>

#include "coordinator/import/linear_reader.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class GptqReader final : public LinearReader {
 public:
  explicit GptqReader(const Checkpoint& checkpoint) {
    const nlohmann::json& said = checkpoint.quantization();
    bits_ = static_cast<std::uint32_t>(integer_of(checkpoint, said, "bits", 2, 8));
    constexpr std::array known = {2u, 3u, 4u, 8u};
    if (std::find(known.begin(), known.end(), bits_) == known.end())
      refuse(checkpoint, std::to_string(bits_) + " bits; 2, 3, 4 and 8 are read");
    group_size_ = group_size_of(checkpoint, said, "group_size");
    act_order_ = flag_of(checkpoint, said, "desc_act", false);
    symmetric_ = flag_of(checkpoint, said, "sym", true);
    if (flag_of(checkpoint, said, "lm_head", false)) refuse(checkpoint, "the head is quantized (lm_head), which is not read");
    const std::string format = text_of(checkpoint, said, "checkpoint_format", "gptq");
    if (format != "gptq" && format != "gptq_v2")
      refuse(checkpoint, "\"checkpoint_format\" is \"" + format + "\"; \"gptq\" and \"gptq_v2\" are read");
    minus_one_ = format == "gptq";
    if (const std::string packed = text_of(checkpoint, said, "pack_dtype", "int32"); packed != "int32")
      refuse(checkpoint, "\"pack_dtype\" is \"" + packed + "\"; \"int32\" is read");
  }

  QuantizeSpec recipe() const override {
    QuantizeSpec recipe;
    recipe.method = Method::gptq;
    recipe.bits = bits_;
    recipe.group_size = group_size_;
    recipe.symmetric = symmetric_;
    recipe.act_order = act_order_;
    return recipe;
  }
  bool holds(const Checkpoint& checkpoint, const LinearShape& linear) const override {
    return checkpoint.has(stem_of(linear) + ".qweight");
  }

  TensorRecord take(Checkpoint& checkpoint, const LinearShape& linear, const PutChunk& put) const override {
    const std::string stem = stem_of(linear);
    const std::uint64_t outputs = linear.outputs, inputs = linear.inputs;
    if (inputs * bits_ % 32 != 0 || outputs * bits_ % 32 != 0)
      throw Error(ErrorCode::bad_input, checkpoint.place(stem + ".qweight") + ": " + std::to_string(outputs) + " outputs and " +
                                            std::to_string(inputs) + " inputs do not fill whole words of " + std::to_string(bits_) + "-bit codes");
    GridLinear grid = empty_grid(linear, bits_, group_size_);
    const std::uint64_t groups = grid.scales.size() / outputs;
    grid.columns = columns(checkpoint, stem, grid);
    {
      const auto words = checkpoint.values<std::uint32_t>(stem + ".qweight", DType::i32, {inputs * bits_ / 32, outputs});
      std::vector<std::uint32_t> row(inputs);
      for (std::size_t output = 0; output < outputs; ++output) {
        unpack_bits(words.data() + output, outputs, inputs, bits_, row.data());
        for (std::size_t k = 0; k < inputs; ++k)
          grid.codes[output * inputs + k] = static_cast<std::uint8_t>(row[grid.columns.empty() ? k : static_cast<std::size_t>(grid.columns[k])]);
      }
    }
    take_scales(checkpoint, linear, grid);
    const auto zero_words = checkpoint.values<std::uint32_t>(stem + ".qzeros", DType::i32, {groups, outputs * bits_ / 32});
    std::vector<std::uint32_t> zeros(outputs);
    for (std::size_t group = 0; group < groups; ++group) {
      unpack_bits(zero_words.data() + group * (outputs * bits_ / 32), 1, outputs, bits_, zeros.data());
      for (std::size_t output = 0; output < outputs; ++output)
        grid.zeros[output * groups + group] = zero_of(checkpoint, stem, zeros[output]);
    }
    take_zero_bias(checkpoint, linear);
    return put_linear(linear, grid, put);
  }

 private:
  // Whether columns are grouped out of order is in g_idx alone: some tools write desc_act and leave the order as it was.
  std::vector<std::int32_t> columns(Checkpoint& checkpoint, const std::string& stem, const GridLinear& grid) const {
    const std::string tensor = stem + ".g_idx";
    if (checkpoint.has(tensor)) return columns_by_group(checkpoint, tensor, grid);
    if (act_order_)
      throw Error(ErrorCode::bad_input, checkpoint.place(tensor) + " is missing, but \"desc_act\" is true: the groups' columns cannot be known");
    return {};
  }

  std::uint8_t zero_of(const Checkpoint& checkpoint, const std::string& stem, std::uint32_t stored) const {
    const std::uint32_t zero = stored + (minus_one_ ? 1 : 0), middle = 1u << (bits_ - 1);
    const std::string place = checkpoint.place(stem + ".qzeros");
    const std::string version = minus_one_ ? "gptq, which stores zeros less one" : "gptq_v2, which stores zeros as they are";
    if (symmetric_ && zero != middle)
      throw Error(ErrorCode::bad_input, place + " has zero " + std::to_string(zero) + " (stored as " + std::to_string(stored) + ") where \"sym\" at " +
                                            std::to_string(bits_) + " bits has " + std::to_string(middle) +
                                            "; the format is said to be " + version +
                                            ": say the other \"checkpoint_format\", or \"sym\": false, if that is what it is");
    if (zero >> bits_ != 0)
      throw Error(ErrorCode::bad_input, place + " has a stored zero of " + std::to_string(stored) + ", that is " + std::to_string(zero) + " in format " +
                                            version + ": a zero of 0 was stored, which borrows from its neighbours, so these zeros are lost; "
                                                      "make the checkpoint again with \"checkpoint_format\": \"gptq_v2\"");
    return static_cast<std::uint8_t>(zero);
  }

  std::uint32_t bits_ = 4;
  std::int32_t group_size_ = -1;
  bool act_order_ = false, symmetric_ = true, minus_one_ = true;
};

}  // namespace

std::unique_ptr<LinearReader> gptq_reader(const Checkpoint& checkpoint) { return std::make_unique<GptqReader>(checkpoint); }

}  // namespace quench::coordinator
