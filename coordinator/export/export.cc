#include "coordinator/export/export.h"

#include <unistd.h>

#include <array>

#include "coordinator/export/aqlm.h"
#include "coordinator/export/awq.h"
#include "coordinator/export/compressed_tensors.h"
#include "coordinator/export/gguf.h"
#include "coordinator/export/gptq.h"
#include "coordinator/export/model_card.h"
#include "coordinator/export/plain.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

struct Format {
  const char* name;
  const char* described;  // on the model card
  void (*write)(const ArtifactStore&, const Manifest&, const fs::path&);
};

template <GgufKind kind>
void write_gguf_as(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
  write_gguf(store, manifest, kind, directory);
}

constexpr std::array kFormats = {
    Format{"gptq", "GPTQ (AutoGPTQ, GPTQModel, vLLM, transformers)", write_gptq},
    Format{"awq", "AWQ GEMM (AutoAWQ, vLLM, transformers)", write_awq},
    Format{"aqlm", "AQLM (aqlm, vLLM, transformers)", write_aqlm},
    Format{"fp16", "plain safetensors, dequantized and rounded to fp16",
           [](const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
             write_plain(store, manifest, DType::f16, directory);
           }},
    Format{"bf16", "plain safetensors, dequantized and rounded to bf16",
           [](const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
             write_plain(store, manifest, DType::bf16, directory);
           }},
    Format{"compressed-tensors", "compressed-tensors (llm-compressor, vLLM, transformers)", write_compressed_tensors},
    Format{"gguf-f16", "GGUF for llama.cpp, linears dequantized and rounded to F16", write_gguf_as<GgufKind::f16>},
    Format{"gguf-q8_0", "GGUF for llama.cpp, linears as Q8_0", write_gguf_as<GgufKind::q8_0>},
    Format{"gguf-q4_0", "GGUF for llama.cpp, linears as Q4_0", write_gguf_as<GgufKind::q4_0>},
    Format{"gguf-q4_k", "GGUF for llama.cpp, linears as Q4_K", write_gguf_as<GgufKind::q4_k>},
};

}  // namespace

std::string export_format_names() {
  std::string names;
  for (const Format& format : kFormats) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

void export_artifact(const ArtifactStore& store, const std::string& ref, const std::string& format_name,
                     const fs::path& to) {
  const Format* format = nullptr;
  for (const Format& one : kFormats)
    if (format_name == one.name) format = &one;
  if (format == nullptr)
    throw Error(ErrorCode::bad_input, "--format " + format_name + ": this build writes " + export_format_names());
  if (fs::exists(to))
    throw Error(ErrorCode::bad_input,
                "--to " + to.string() + " is there already: name a directory that is not");
  const Digest digest = store.resolve(ref);
  const StoredObject object = store.get_object(digest);
  const Manifest manifest = decode_manifest(object.bytes);
  require_model(manifest, ref);
  require_weights(object, ref);
  if (!manifest.endpoint_url.empty())
    throw Error(ErrorCode::bad_input,
                ref + " is a model that is served at " + manifest.endpoint_url + ": there are no weights to export");
  if (manifest.recipe.activations != Activations::none && format_name != "compressed-tensors")
    throw Error(ErrorCode::bad_input, ref + " rounds activations to 8 bits (" + std::string(to_string(manifest.recipe.activations)) +
                                          "), which --format " + format_name +
                                          " cannot say, so that readers would compute something else: choose --format compressed-tensors");
  const fs::path partial = to.string() + ".partial-" + std::to_string(::getpid());
  std::error_code error;
  fs::create_directories(partial, error);
  if (error) throw Error(ErrorCode::failed, "cannot make " + partial.string() + ": " + error.message());
  try {
    in_context("export of " + ref, [&] {
      format->write(store, manifest, partial);
      write_model_card(store, digest, manifest, format->described, partial);
    });
    fs::rename(partial, to);
  } catch (...) {
    fs::remove_all(partial, error);
    throw;
  }
}

}  // namespace quench::coordinator
