// AQLM: codes int8 or int16 [N, K/group, codebooks], wrapped to signed; codebooks fp16 [codebooks, 2^bits, 1, group]; scales
// fp16 [N, 1, 1, 1].
#include "coordinator/import/linear_reader.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

class AqlmReader final : public LinearReader {
 public:
  explicit AqlmReader(const Checkpoint& checkpoint) {
    const nlohmann::json& said = checkpoint.quantization();
    codebooks_ = static_cast<std::uint32_t>(integer_of(checkpoint, said, "num_codebooks", 1, kCodebooksMax));
    bits_ = static_cast<std::uint32_t>(integer_of(checkpoint, said, "nbits_per_codebook", 1, kCodebookBitsMax));
    group_size_ = static_cast<std::uint32_t>(integer_of(checkpoint, said, "in_group_size", 1, 1 << 10));
    if (group_size_ != 8 && group_size_ != 16) refuse(checkpoint, "\"in_group_size\" is " + std::to_string(group_size_) + "; 8 and 16 are read");
    if (const auto out = said.find("out_group_size"); out != said.end() && *out != 1)
      refuse(checkpoint, "\"out_group_size\" is " + out->dump().substr(0, 20) + "; codes of one output are read");
  }
  QuantizeSpec recipe() const override {
    QuantizeSpec recipe;
    recipe.method = Method::aqlm;
    recipe.codebooks = codebooks_;
    recipe.codebook_bits = bits_;
    recipe.group_size = static_cast<std::int32_t>(group_size_);
    recipe.bits = (codebooks_ * bits_ + group_size_ / 2) / group_size_;
    return recipe;
  }
  bool holds(const Checkpoint& checkpoint, const LinearShape& linear) const override {
    return checkpoint.has(stem_of(linear) + ".codes");
  }

  TensorRecord take(Checkpoint& checkpoint, const LinearShape& linear, const PutChunk& put) const override {
    const std::string stem = stem_of(linear);
    if (const std::string fault = additive_fault(codebooks_, bits_, group_size_, linear.inputs); !fault.empty())
      throw Error(ErrorCode::bad_input, checkpoint.place(stem + ".codes") + ": " + fault);
    const std::uint64_t outputs = linear.outputs, groups = linear.inputs / group_size_;
    CodebookLinear books{linear.outputs, linear.inputs, codebooks_, bits_, group_size_, {}, {}, {}};
    const std::vector<std::uint64_t> shape = {outputs, groups, codebooks_};
    const auto mask = static_cast<std::uint16_t>((1u << bits_) - 1);
    if (checkpoint.entry(stem + ".codes").dtype == DType::i8) {
      for (const std::uint8_t code : checkpoint.values<std::uint8_t>(stem + ".codes", DType::i8, shape))
        books.codes.push_back(code_of(checkpoint, stem, code, 8, mask));
    } else {
      books.codes = checkpoint.values<std::uint16_t>(stem + ".codes", DType::i16, shape);
      for (std::uint16_t& code : books.codes) code = code_of(checkpoint, stem, code, 16, mask);
    }
    books.entries = checkpoint.scales(stem + ".codebooks", {codebooks_, std::uint64_t{1} << bits_, 1, group_size_});
    books.scales = checkpoint.scales(stem + ".scales", {outputs, 1, 1, 1});
    take_zero_bias(checkpoint, linear);
    return put_linear(linear, books, put);
  }

 private:
  // Unsigned codes as they fit; with all bits of the stored type a code may be anything.
  std::uint16_t code_of(const Checkpoint& checkpoint, const std::string& stem, std::uint16_t stored, std::uint32_t width, std::uint16_t mask) const {
    if (bits_ < width && stored > mask)
      throw Error(ErrorCode::bad_input, checkpoint.place(stem + ".codes") + " has code " + std::to_string(stored) + "; a codebook of " +
                                            std::to_string(bits_) + " bits has entries 0 to " + std::to_string(mask));
    return stored;
  }
  std::uint32_t codebooks_ = 0, bits_ = 0, group_size_ = 0;
};

}  // namespace

std::unique_ptr<LinearReader> aqlm_reader(const Checkpoint& checkpoint) { return std::make_unique<AqlmReader>(checkpoint); }

}  // namespace quench::coordinator
