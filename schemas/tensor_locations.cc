// Which file of a model directory holds which tensor.
#include <set>

#include "schemas/error.h"
#include "schemas/json_document.h"
#include "schemas/safetensors.h"
#include "schemas/small_file.h"

namespace quench {
namespace {

constexpr std::size_t kIndexBytesMax = 64 << 20;
constexpr std::size_t kIndexValuesMax = 2'000'000;
constexpr std::size_t kShardsMax = 10'000;

namespace fs = std::filesystem;

// A shard lies in the model's own directory: no separators, no "..", nothing absolute.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

std::map<std::string, TensorLocation> locate_in_shards(const fs::path& model_dir, const fs::path& index) {
  const JsonValue root = parse_strict_json(read_small_file(index, kIndexBytesMax), kIndexValuesMax);
  const JsonValue* weight_map = root.find("weight_map");
  if (weight_map == nullptr || weight_map->as<JsonValue::Object>() == nullptr)
    throw Error(ErrorCode::bad_input, "no object \"weight_map\" from tensor names to file names");

  std::map<std::string, std::set<std::string>> tensors_of;  // by shard
  for (const JsonMember& member : *weight_map->as<JsonValue::Object>()) {
    const auto* shard = member.value.as<std::string>();
    if (shard == nullptr || !is_plain_file_name(*shard))
      throw Error(ErrorCode::bad_input, "tensor \"" + member.key + "\" is said to lie in " +
                                            member.value.found() +
                                            "; expected the name of a file in the same directory");
    tensors_of[*shard].insert(member.key);
    if (tensors_of.size() > kShardsMax)
      throw Error(ErrorCode::bad_input, "more than " + std::to_string(kShardsMax) + " shards");
  }

  std::map<std::string, TensorLocation> locations;
  for (const auto& [shard, names] : tensors_of) {
    const fs::path file = model_dir / shard;
    std::error_code ignored;  // unreadable counts as absent
    if (!fs::is_regular_file(file, ignored))
      throw Error(ErrorCode::bad_input, "names the shard " + shard + ", which is not in " +
                                            model_dir.string() + ": download it, or correct the index");
    SafetensorsHeader header = read_safetensors_header(file);
    for (const std::string& name : names) {
      const auto found = header.tensors.find(name);
      if (found == header.tensors.end())
        throw Error(ErrorCode::bad_input,
                    "says that tensor \"" + name + "\" lies in " + shard + ", which does not hold it");
      locations.emplace(name, TensorLocation{file, std::move(found->second)});
      header.tensors.erase(found);
    }
    if (!header.tensors.empty())
      throw Error(ErrorCode::bad_input, "does not name tensor \"" + header.tensors.begin()->first +
                                            "\", which " + shard + " holds");
  }
  return locations;
}

}  // namespace

std::map<std::string, TensorLocation> locate_tensors(const fs::path& model_dir) {
  const fs::path index = model_dir / "model.safetensors.index.json";
  const fs::path single = model_dir / "model.safetensors";
  std::error_code ignored;  // unreadable counts as absent
  if (fs::exists(single, ignored)) {
    std::map<std::string, TensorLocation> locations;
    for (auto& [name, entry] : read_safetensors_header(single).tensors)
      locations.emplace(name, TensorLocation{single, std::move(entry)});
    return locations;
  }
  if (fs::exists(index))
    return in_context(index.string(), [&] { return locate_in_shards(model_dir, index); });
  throw Error(ErrorCode::bad_input, model_dir.string() +
                                        ": holds neither model.safetensors nor model.safetensors.index.json; "
                                        "expected a Hugging Face directory with safetensors weights");
}

}  // namespace quench
