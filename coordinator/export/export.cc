#include "coordinator/export/export.h"

#include <unistd.h>

#include <fstream>

#include "coordinator/export/gptq.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {

namespace fs = std::filesystem;

void export_artifact(const ArtifactStore& store, const std::string& ref, const std::string& format,
                     const fs::path& to) {
  if (format != "gptq") throw Error(ErrorCode::bad_input, "--format " + format + ": this build writes gptq");
  if (fs::exists(to))
    throw Error(ErrorCode::bad_input,
                "--to " + to.string() + " is there already: name a directory that is not");
  const Manifest manifest = decode_manifest(store.get_object(store.resolve(ref)).bytes);
  require_model(manifest, ref);
  if (manifest.recipe.budget_gib > 0)
    throw Error(ErrorCode::bad_input, ref + " has bits and group size chosen for each linear, which the format gptq cannot say");
  if (!manifest.endpoint_url.empty())
    throw Error(ErrorCode::bad_input,
                ref + " is a model that is served at " + manifest.endpoint_url + ": there are no weights to export");
  const fs::path partial = to.string() + ".partial-" + std::to_string(::getpid());
  std::error_code error;
  fs::create_directories(partial, error);
  if (error) throw Error(ErrorCode::failed, "cannot make " + partial.string() + ": " + error.message());
  try {
    in_context("export of " + ref, [&] { write_gptq(store, manifest, partial); });
    fs::rename(partial, to);
  } catch (...) {
    fs::remove_all(partial, error);
    throw;
  }
}

}  // namespace quench::coordinator
