// From a ref to a model that generates: manifest and chunks come over the service, chunks through a
// cache on this node's disk that its ranks share; the files an artifact carries are laid out in a
// directory, where the tokenizer reads them. Compute thread only.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "worker/evaluate/model_completions.h"
#include "worker/model/weights.h"
#include "worker/service.h"

namespace quench::worker {

// Chunks by digest in a directory. Every read checks the digest; a file that is torn or was changed is
// fetched again. Several processes may share it.
class ChunkCache {
 public:
  // An empty directory: nothing is kept.
  ChunkCache(Service& service, std::filesystem::path directory);
  Bytes read(const ChunkRef& chunk);

 private:
  Service& service_;
  std::filesystem::path directory_;
};

// `ref` is a name or a digest. `positions_max` bounds the context (0: the model's own).
LoadedModel load_artifact(kernels::Backend& backend, Service& service, const std::string& ref,
                          const std::filesystem::path& cache_dir, std::int64_t positions_max = 0);
// A Hugging Face directory.
LoadedModel load_directory(kernels::Backend& backend, const std::filesystem::path& directory,
                           std::int64_t positions_max = 0);

}  // namespace quench::worker
