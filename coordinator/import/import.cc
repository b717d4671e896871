#include "coordinator/import/import.h"

#include <algorithm>
#include <array>
#include <optional>

#include "coordinator/clock.h"
#include "coordinator/import/linear_reader.h"
#include "coordinator/plan/planner.h"
#include "coordinator/repository/publication.h"
#include "schemas/build_id.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/nearest_name.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

struct Format {
  const char* name;
  std::unique_ptr<LinearReader> (*reader)(const Checkpoint&);
  bool says_method;  // its recipe's method is what found the codes
};
constexpr std::array kFormats = {Format{"gptq", gptq_reader, true}, Format{"awq", awq_reader, true}, Format{"aqlm", aqlm_reader, true},
                                 Format{"compressed-tensors", compressed_tensors_reader, false}};

// The exponent of a value that is NaN or infinite is all ones.
void check_finite(const Bytes& bytes, DType type, const std::string& place) {
  if (type != DType::f32 && type != DType::f16 && type != DType::bf16)
    throw Error(ErrorCode::bad_input, place + " is " + std::string(to_string(type)) + "; expected F32, F16 or BF16");
  const std::size_t width = dtype_bytes(type);
  for (std::size_t i = 0; i + width <= bytes.size(); i += width) {
    const auto high = static_cast<std::uint32_t>(bytes[i + width - 2] | bytes[i + width - 1] << 8);
    const std::uint32_t mask = type == DType::f16 ? 0x7c00 : 0x7f80;
    if ((high & mask) == mask) throw Error(ErrorCode::bad_input, place + ": value " + std::to_string(i / width) + " of a piece is NaN or infinite");
  }
}

class Import {
 public:
  Import(ArtifactStore& store, const fs::path& directory) : store_(store), checkpoint_(directory) {}

  ImportedModel run(const std::string& name, const std::string& method) {
    ImportedModel imported;
    const Format* format = nullptr;
    if (checkpoint_.quantization().is_object()) {
      const std::string said = text_of(checkpoint_, checkpoint_.quantization(), "quant_method", "");
      std::vector<std::string> known;
      for (const Format& one : kFormats) {
        known.emplace_back(one.name);
        if (said == one.name) format = &one;
      }
      if (format == nullptr) refuse(checkpoint_, "\"quant_method\" is \"" + said.substr(0, 40) + "\"" + known_names(said, known));
    }
    const std::unique_ptr<LinearReader> reader = format != nullptr ? format->reader(checkpoint_) : nullptr;
    imported.format = format != nullptr ? format->name : "none";
    if (reader != nullptr)
      manifest_.recipe = reader->recipe();
    else
      manifest_.recipe.method = Method::none;
    if (!method.empty()) take_method(method, format);

    manifest_.source = model_source_digest(checkpoint_.directory().string());
    const PutChunk put = [this](Bytes bytes) { return put_bytes(std::move(bytes)); };
    for (const char* file : kCarriedFiles) {
      const fs::path path = checkpoint_.directory() / file;
      if (std::string_view(file) == "config.json") {
        manifest_.files.push_back({file, put({checkpoint_.config_text().begin(), checkpoint_.config_text().end()})});
      } else if (fs::is_regular_file(path)) {
        const std::string text = read_small_file(path, kChunkBytesMax);
        manifest_.files.push_back({file, put({text.begin(), text.end()})});
      }
    }
    const ModelConfig& config = checkpoint_.config();
    for (const NamedShape& tensor : outer_tensors(config)) take_raw(tensor.name, tensor.shape);
    for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
      for (const BlockVector& vector : block_vectors(config, layer)) take_raw(vector.tensor, {vector.size});
      for (const LinearShape& linear : block_linears(config, layer)) {
        ++imported.linears;
        if (reader != nullptr && reader->holds(checkpoint_, linear)) {
          manifest_.tensors.push_back(reader->take(checkpoint_, linear, put));
        } else {
          if (reader != nullptr) ++imported.left;
          take_raw(linear.tensor, {linear.outputs, linear.inputs});
          take_zero_bias(checkpoint_, linear);
        }
      }
    }
    if (reader != nullptr && imported.left == imported.linears)
      refuse(checkpoint_, "says " + imported.format + ", but no linear of the model is quantized so: the settings are of another model");
    // A tied head may be stored all the same.
    if (config.tied_head && checkpoint_.has("lm_head.weight")) checkpoint_.read("lm_head.weight", 0, 0);
    checkpoint_.check_all_used();
    imported.digest = publish(name, imported.format);
    return imported;
  }

 private:
  void take_method(const std::string& method, const Format* format) {
    if (format == nullptr || format->says_method)
      throw Error(ErrorCode::bad_input, "--method " + method + ": the format says itself what it is (" +
                                            (format == nullptr ? "not quantized" : format->name) + "); leave --method out");
    if (manifest_.recipe.method == Method::int8)
      throw Error(ErrorCode::bad_input, "--method " + method + ": 8-bit weights with one scale a row are int8; leave --method out");
    if (method == "gptq")
      manifest_.recipe.method = Method::gptq;
    else if (method == "awq" && !manifest_.recipe.symmetric)
      manifest_.recipe.method = Method::awq;
    else if (method != "rtn")
      throw Error(ErrorCode::bad_input, "--method " + method + ": expected rtn or gptq, or awq for grids with zero points");
  }

  ChunkRef put_bytes(Bytes bytes) { return {store_.put_chunk(bytes), bytes.size()}; }

  void take_raw(const std::string& name, const std::vector<std::uint64_t>& shape) {
    const TensorEntry& entry = checkpoint_.entry(name);
    if (entry.shape != shape)
      throw Error(ErrorCode::bad_input, checkpoint_.place(name) + " has another shape than config.json asks for: the two are of different models");
    TensorRecord record;
    record.name = name;
    record.dtype = entry.dtype;
    record.shape = shape;
    for (std::uint64_t offset = 0; offset < entry.bytes; offset += kRawChunkBytes) {
      Bytes bytes = checkpoint_.read(name, offset, std::min(kRawChunkBytes, entry.bytes - offset));
      check_finite(bytes, entry.dtype, checkpoint_.place(name));
      record.chunks.push_back(put_bytes(std::move(bytes)));
    }
    check_tensor_record(record);
    manifest_.tensors.push_back(std::move(record));
  }

  Digest publish(const std::string& name, const std::string& format) {
    RunRecord run;
    run.job_name = "import of " + format;
    run.build = kBuildId;
    run.finished_unix_ms = unix_now_ms();
    Commit commit;
    const Digest digest =
        add_published(commit, name, manifest_, encode(manifest_), static_cast<std::uint64_t>(run.finished_unix_ms));
    if (const std::optional<Ref> there = store_.find_ref(name); there && there->object != digest)
      throw Error(ErrorCode::bad_input, "the name " + name + " is taken by " + there->object.short_hex() + ": choose another with --as");
    run.artifact = digest;
    commit.put_result("run/" + digest.hex() + "/import", encode(run));
    store_.commit(commit);
    return digest;
  }

  ArtifactStore& store_;
  Checkpoint checkpoint_;
  Manifest manifest_;
};

}  // namespace

ImportedModel import_model(ArtifactStore& store, const fs::path& directory, const std::string& name, const std::string& method) {
  return in_context("import of " + directory.string(), [&] { return Import(store, directory).run(name, method); });
}

}  // namespace quench::coordinator
