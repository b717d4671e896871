// A Hugging Face directory as a WeightSource: each read is a pread of the range asked for, so that the page
// cache, not this process, holds what several ranks of a node read.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "schemas/error.h"
#include "worker/model/weights.h"

namespace quench::worker {
namespace {

class ReadOnlyFile {
 public:
  explicit ReadOnlyFile(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw errno_error(ErrorCode::bad_input, "cannot open " + path.string(), errno);
  }
  ~ReadOnlyFile() { ::close(descriptor_); }
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

class ModelDirectory final : public WeightSource {
 public:
  explicit ModelDirectory(const std::filesystem::path& directory)
      : WeightSource(read_model_config(directory)),
        directory_(directory),
        locations_(locate_tensors(directory)) {
    for (const auto& [name, location] : locations_) {
      add_tensor(name, {.dtype = location.entry.dtype, .shape = location.entry.shape}, place(name));
      const std::string file = location.file.string();
      if (has(name) && !files_.contains(file))
        files_.emplace(file, std::make_unique<ReadOnlyFile>(location.file));
    }
    check_complete(*this);
  }

  std::string place(const std::string& name) const override {
    const auto found = locations_.find(name);
    return (found == locations_.end() ? directory_ : found->second.file).string() + ": tensor " + name;
  }

  void read_bytes(const std::string& name, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    const auto found = locations_.find(name);
    QUENCH_CHECK(found != locations_.end(), name);
    const TensorEntry& entry = found->second.entry;
    QUENCH_CHECK(offset <= entry.bytes && out.size() <= entry.bytes - offset, name, offset, out.size());
    const int descriptor = files_.at(found->second.file.string())->descriptor();
    for (std::size_t done = 0; done < out.size();) {
      const auto place_in_file = static_cast<off_t>(entry.file_offset + offset + done);
      const ssize_t count = ::pread(descriptor, out.data() + done, out.size() - done, place_in_file);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw errno_error(ErrorCode::failed, "cannot read " + place(name), errno);
      if (count == 0)
        throw Error(ErrorCode::bad_input, place(name) + ": the file ends at byte " +
                                              std::to_string(place_in_file) +
                                              "; it was cut while in use: copy the model again");
      done += static_cast<std::size_t>(count);
    }
  }

  std::vector<std::uint8_t> read_tile(const std::string& name, std::uint64_t) const override {
    QUENCH_CHECK(false, "a model directory has no packed tensors", name);
    return {};
  }
  std::vector<std::int32_t> read_permutation(const std::string& name) const override {
    QUENCH_CHECK(false, "a model directory has no packed tensors", name);
    return {};
  }

 private:
  std::filesystem::path directory_;
  std::map<std::string, TensorLocation> locations_;
  std::map<std::string, std::unique_ptr<ReadOnlyFile>> files_;
};

}  // namespace

std::unique_ptr<WeightSource> open_model_directory(const std::filesystem::path& directory) {
  return std::make_unique<ModelDirectory>(directory);
}

}  // namespace quench::worker
