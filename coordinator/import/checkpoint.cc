#include "coordinator/import/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "coordinator/export/float_formats.h"
#include "schemas/error.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kConfigBytesMax = 1 << 20;

json parse_object(const fs::path& file) {
  json parsed = json::parse(read_small_file(file, kConfigBytesMax), nullptr, false);
  if (!parsed.is_object()) throw Error(ErrorCode::bad_input, file.string() + ": expected a JSON object");
  return parsed;
}

// What both files say must be the same; either may say more.
void check_agreement(const json& one, const json& other, const fs::path& directory) {
  for (const auto& [key, value] : one.items())
    if (key != "meta" && other.contains(key) && other[key] != value)
      throw Error(ErrorCode::bad_input, directory.string() + ": quantize_config.json has \"" + key + "\": " + value.dump().substr(0, 60) +
                                            " and config.json has " + other[key].dump().substr(0, 60) +
                                            ": one of them is of another model");
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& directory) : directory_(directory) {
  if (!fs::is_directory(directory))
    throw Error(ErrorCode::bad_input, directory.string() + ": not a directory; expected a model with config.json and safetensors files");
  const fs::path file = directory / "config.json";
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_small_file(file, kConfigBytesMax), nullptr, false);
  if (!config.is_object()) throw Error(ErrorCode::bad_input, file.string() + ": expected a JSON object");
  if (config.contains("quantization_config")) {
    quantization_ = json::parse(config["quantization_config"].dump());
    quantization_place_ = file.string() + ": quantization_config";
    config.erase("quantization_config");
  }
  if (const fs::path apart = directory / "quantize_config.json"; fs::is_regular_file(apart)) {
    const json said = parse_object(apart);
    if (quantization_.is_object()) {
      check_agreement(said, quantization_, directory);
    } else {
      quantization_ = said;
      quantization_place_ = apart.string();
      if (!quantization_.contains("quant_method")) quantization_["quant_method"] = "gptq";
    }
  }
  if (!quantization_.is_null() && !quantization_.is_object())
    throw Error(ErrorCode::bad_input, quantization_place_ + ": expected an object");
  config_text_ = config.dump(2) + "\n";
  config_ = parse_model_config(config_text_, file.string());
  locations_ = locate_tensors(directory);
}

const TensorEntry& Checkpoint::entry(const std::string& tensor) const {
  const auto found = locations_.find(tensor);
  if (found == locations_.end())
    throw Error(ErrorCode::bad_input, place(tensor) + " is missing; the model cannot be imported without it");
  return found->second.entry;
}

std::string Checkpoint::place(const std::string& tensor) const {
  const auto found = locations_.find(tensor);
  return (found == locations_.end() ? directory_ : found->second.file).string() + ": tensor " + tensor;
}

Bytes Checkpoint::read(const std::string& tensor, std::uint64_t offset, std::uint64_t bytes) {
  const TensorEntry& where = entry(tensor);
  QUENCH_CHECK(offset <= where.bytes && bytes <= where.bytes - offset, tensor, offset, bytes);
  used_.insert(tensor);
  Bytes out(bytes);
  std::ifstream file(locations_.at(tensor).file, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(where.file_offset + offset));
  if (bytes > 0 && !file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(bytes)))
    throw Error(ErrorCode::bad_input, place(tensor) + ": the file ends before it; it was cut: copy the model again");
  return out;
}

void Checkpoint::check(const std::string& tensor, DType type, const std::vector<std::uint64_t>& shape) const {
  const TensorEntry& there = entry(tensor);
  if (there.dtype != type || there.shape != shape)
    throw Error(ErrorCode::bad_input, place(tensor) + " is " + std::string(to_string(there.dtype)) + " " + shape_text(there.shape) +
                                          "; config.json and the quantization's settings ask for " + std::string(to_string(type)) + " " +
                                          shape_text(shape) + ": they are of different models");
}

std::vector<std::uint16_t> Checkpoint::scales(const std::string& tensor, const std::vector<std::uint64_t>& shape) {
  const DType type = entry(tensor).dtype;
  std::vector<std::uint16_t> halves;
  if (type == DType::f32) {
    for (const float value : values<float>(tensor, type, shape)) halves.push_back(f32_to_f16(value));
  } else if (type == DType::bf16) {
    for (const std::uint16_t value : values<std::uint16_t>(tensor, type, shape)) halves.push_back(f32_to_f16(bf16_to_f32(value)));
  } else {
    halves = values<std::uint16_t>(tensor, DType::f16, shape);
  }
  for (std::size_t i = 0; i < halves.size(); ++i)
    if (!std::isfinite(f16_to_f32(halves[i])))
      throw Error(ErrorCode::bad_input, place(tensor) + ": scale " + std::to_string(i) + " is not finite as fp16, which the store's layout has");
  return halves;
}

void Checkpoint::check_all_used() const {
  for (const auto& [name, location] : locations_)
    if (!used_.contains(name) && !name.ends_with(".rotary_emb.inv_freq"))
      throw Error(ErrorCode::bad_input, place(name) + " has no place in the model that config.json describes; leaving it out would "
                                                      "change what the model computes");
}

void refuse(const Checkpoint& checkpoint, const std::string& what) {
  throw Error(ErrorCode::bad_input, checkpoint.quantization_place() + ": " + what);
}

std::int64_t integer_of(const Checkpoint& checkpoint, const json& object, const char* key, std::int64_t least, std::int64_t most) {
  const auto found = object.find(key);
  const std::string expected = "expected a whole number of " + std::to_string(least) + " to " + std::to_string(most);
  if (found == object.end()) refuse(checkpoint, std::string("\"") + key + "\" is missing; " + expected);
  if (!found->is_number_integer() || found->get<std::int64_t>() < least || found->get<std::int64_t>() > most)
    refuse(checkpoint, std::string("\"") + key + "\" is " + found->dump().substr(0, 60) + "; " + expected);
  return found->get<std::int64_t>();
}

bool flag_of(const Checkpoint& checkpoint, const json& object, const char* key, bool fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) refuse(checkpoint, std::string("\"") + key + "\" is " + found->dump().substr(0, 60) + "; expected true or false");
  return found->get<bool>();
}

std::string text_of(const Checkpoint& checkpoint, const json& object, const char* key, const std::string& fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_string()) refuse(checkpoint, std::string("\"") + key + "\" is " + found->dump().substr(0, 60) + "; expected a text");
  return found->get<std::string>();
}

}  // namespace quench::coordinator
