#include "worker/artifact_loader.h"

#include <unistd.h>

#include <fstream>
#include <iterator>

#include "schemas/error.h"
#include "worker/evaluate/chat_templates.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

bool write_beside_and_rename(const fs::path& file, const Bytes& bytes) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  const fs::path partial = file.string() + "." + std::to_string(::getpid());
  {
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) {
      fs::remove(partial, error);
      return false;
    }
  }
  fs::rename(partial, file, error);
  return !error;
}

LoadedModel assemble(kernels::Backend& backend, const WeightSource& source, const fs::path& tokenizer_dir,
                     std::int64_t positions_max) {
  LoadedModel model;
  model.tokenizer = load_tokenizer(tokenizer_dir);
  model.tokenizer->check_fits(source.config().vocab_size);
  model.chat_template = read_chat_template(tokenizer_dir);
  model.transformer = std::make_unique<Transformer>(backend, source, positions_max);
  return model;
}

}  // namespace

ChunkCache::ChunkCache(Service& service, fs::path directory)
    : service_(service), directory_(std::move(directory)) {}

Bytes ChunkCache::read(const ChunkRef& chunk) {
  const std::string name = chunk.digest.hex();
  const fs::path file = directory_ / name.substr(0, 2) / name;
  if (!directory_.empty()) {
    std::ifstream in(file, std::ios::binary);
    if (in) {
      Bytes bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      if (in.good() || in.eof())
        if (sha256(bytes) == chunk.digest) return bytes;
    }
  }
  Bytes bytes = service_.fetch_chunk(chunk.digest);
  // A full cache disk costs fetching again, nothing else.
  if (!directory_.empty()) write_beside_and_rename(file, bytes);
  return bytes;
}

LoadedModel load_artifact(kernels::Backend& backend, Service& service, const std::string& ref,
                          const fs::path& cache_dir, std::int64_t positions_max) {
  const ManifestReply reply = service.fetch_manifest(ref);
  require_model(reply.manifest, ref);
  if (!reply.manifest.endpoint_url.empty())
    throw Error(ErrorCode::bad_input, "artifact " + reply.digest.short_hex() + " is a model that is served at " +
                                          reply.manifest.endpoint_url + ": its weights are not in this store");
  ChunkCache cache(service, cache_dir);
  const ChunkReader reader = [&cache](const ChunkRef& chunk) { return cache.read(chunk); };
  const std::unique_ptr<WeightSource> source = open_artifact(reply.manifest, reader);
  const fs::path files_dir =
      (cache_dir.empty() ? fs::temp_directory_path() / ("quench-" + std::to_string(::getpid())) : cache_dir) /
      ("files-" + reply.digest.short_hex());
  for (const FileRecord& file : reply.manifest.files) {
    if (fs::path(file.name).filename() != file.name || file.name.empty())
      throw Error(ErrorCode::corrupt, "artifact " + reply.digest.short_hex() + " carries a file named \"" +
                                          file.name + "\", which is not a plain file name");
    const Bytes bytes = read_checked_chunk(reader, file.chunk);
    if (!write_beside_and_rename(files_dir / file.name, bytes))
      throw Error(ErrorCode::failed, "cannot write " + (files_dir / file.name).string() +
                                         ": make room on that disk or name another with TMPDIR");
  }
  LoadedModel model = assemble(backend, *source, files_dir, positions_max);
  if (cache_dir.empty()) {
    std::error_code ignored;
    fs::remove_all(files_dir.parent_path(), ignored);
  }
  return model;
}

LoadedModel load_directory(kernels::Backend& backend, const fs::path& directory, std::int64_t positions_max) {
  return assemble(backend, *open_model_directory(directory), directory, positions_max);
}

}  // namespace quench::worker
