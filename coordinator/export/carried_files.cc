#include "coordinator/export/carried_files.h"

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/export/linear_tiles.h"
#include "schemas/error.h"

namespace quench::coordinator {

namespace fs = std::filesystem;

void write_file(const fs::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.flush();
  if (!out) throw errno_error(ErrorCode::failed, "cannot write " + path.string(), errno);
}

std::string carried_text(const ArtifactStore& store, const Manifest& manifest, std::string_view name) {
  for (const FileRecord& file : manifest.files)
    if (file.name == name) {
      const Bytes bytes = checked_chunk(store, file.chunk);
      return {bytes.begin(), bytes.end()};
    }
  return {};
}

void write_carried_files(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory,
                         const std::function<void(nlohmann::ordered_json& config)>& edit_config) {
  bool has_config = false;
  for (const FileRecord& file : manifest.files) {
    if (fs::path(file.name).filename() != file.name)
      throw Error(ErrorCode::corrupt, "the artifact carries \"" + file.name + "\", which is not a plain file name");
    std::string text = carried_text(store, manifest, file.name);
    if (file.name == "config.json") {
      nlohmann::ordered_json config = nlohmann::ordered_json::parse(text, nullptr, false);
      if (!config.is_object()) throw Error(ErrorCode::corrupt, "the artifact's config.json is not a JSON object");
      edit_config(config);
      text = config.dump(2) + "\n";
      has_config = true;
    }
    write_file(directory / file.name, text);
  }
  if (!has_config) throw Error(ErrorCode::corrupt, "the artifact carries no config.json");
}

}  // namespace quench::coordinator
