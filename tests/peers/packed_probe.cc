// packed_probe STORE REF IDS.txt GREEDY OUT.safetensors: runs the packed artifact REF of a store on token ids (decimal,
// separated by blanks) and writes `logits` [T, V] of the prefill and `greedy_ids` [GREEDY] that follow. For the
// export's peer test: nothing is exported or dequantized on the way.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "worker/model/transformer.h"

namespace quench {
namespace {

template <typename T>
std::span<const std::uint8_t> bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)};
}

void probe(const std::string& directory, const std::string& ref, const std::string& ids_file, std::size_t greedy,
           const std::string& out) {
  std::ifstream in(ids_file);
  const std::vector<std::int32_t> ids{std::istream_iterator<std::int32_t>(in), {}};
  if (ids.empty()) throw Error(ErrorCode::bad_input, ids_file + ": no token ids");
  const auto store = coordinator::ArtifactStore::open(directory, coordinator::OpenMode::existing);
  const Manifest manifest = decode_manifest(store.get_object(store.resolve(ref)).bytes);
  const auto source = worker::open_artifact(manifest, [&](const ChunkRef& chunk) { return store.get_chunk(chunk.digest); });
  const auto backend = kernels::make_cpu_backend({.threads = 2});
  worker::Transformer transformer(*backend, *source);
  worker::SequenceCache cache(transformer.config(), static_cast<std::int64_t>(ids.size() + greedy));

  worker::SequenceStep step{&cache, ids};
  const kernels::ConstMatrixView prefill = transformer.forward({&step, 1}, worker::LogitRows::all);
  const std::vector<float> logits(prefill.data, prefill.data + prefill.rows * prefill.cols);
  std::vector<std::int32_t> tokens;
  kernels::ConstMatrixView last = prefill.row_range(prefill.rows - 1, 1);
  while (tokens.size() < greedy) {
    std::int32_t next = 0;
    backend->argmax(last, {&next, 1});
    tokens.push_back(next);
    step.tokens = std::span(tokens).last(1);
    last = transformer.forward({&step, 1});
  }
  SafetensorsWriter writer(out,
                           {{"greedy_ids", DType::i32, {tokens.size()}},
                            {"logits", DType::f32, {ids.size(), transformer.config().vocab_size}}},
                           {});
  writer.append(bytes_of(tokens));
  writer.append(bytes_of(logits));
  writer.finish();
}

}  // namespace
}  // namespace quench

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: packed_probe STORE REF IDS.txt GREEDY OUT.safetensors\n");
    return 2;
  }
  try {
    quench::probe(argv[1], argv[2], argv[3], std::stoul(argv[4]), argv[5]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
