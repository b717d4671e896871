// decode_speed DIRECTORY [THREADS] [BITS]: greedy tokens per second through the batch decoder, at batch 1 and
// 32, and prefill tokens per second. BITS 8, 4, 3 or 2 rounds the model to packed weights in groups of 64
// first.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>

#include "tests/worker/model/model_fixtures.h"
#include "worker/generate/batch_decoder.h"

namespace quench::worker {
namespace {

// Tokens per second of wall clock and of this process's processor time: the second is what a busy machine
// does not spoil.
class Meter {
 public:
  void print(const char* what, std::size_t tokens) const {
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall_).count();
    const double cpu = static_cast<double>(std::clock() - cpu_) / CLOCKS_PER_SEC;
    const auto count = static_cast<double>(tokens);
    std::printf("  %-16s %8.0f tokens/s %8.0f tokens/cpu-s\n", what, count / wall, count / cpu);
  }

 private:
  std::chrono::steady_clock::time_point wall_ = std::chrono::steady_clock::now();
  std::clock_t cpu_ = std::clock();
};

void decode(Transformer& transformer, std::uint32_t batch, std::uint32_t tokens) {
  BatchDecoder decoder(transformer, [](std::int32_t) { return std::string(); },
                       {.sequences_max = batch, .rows_max = 512});
  for (std::uint32_t i = 0; i < batch; ++i)
    decoder.add({.id = i, .prompt = {static_cast<std::int32_t>(i + 2)}, .max_new_tokens = tokens});
  const Meter meter;
  std::size_t generated = 0;
  for (const Completion& completion : decoder.run()) generated += completion.tokens.size();
  meter.print(("decode, batch " + std::to_string(batch)).c_str(), generated);
}

void prefill(Transformer& transformer, std::size_t tokens) {
  const std::vector<std::int32_t> ids(tokens, 5);
  SequenceCache cache(transformer.config(), static_cast<std::int64_t>(tokens));
  const SequenceStep step{&cache, ids};
  const Meter meter;
  transformer.forward({&step, 1});
  meter.print(("prefill of " + std::to_string(tokens)).c_str(), tokens);
}

void measure(const std::string& directory, int threads, std::uint32_t bits) {
  const auto backend = test::backend_of("", threads);
  auto source = open_model_directory(directory);
  test::TestArtifact artifact;
  if (bits < 16) {
    artifact = test::make_artifact(directory, *backend, bits, 64, test::ColumnOrder::source);
    source = open_artifact(artifact.manifest, artifact.chunks.reader());
  }
  Transformer transformer(*backend, *source);
  std::printf("%s, %d threads, %u bits, %zu bytes of weights\n", std::string(backend->name()).c_str(),
              threads, bits, transformer.weight_bytes());
  prefill(transformer, 64);
  prefill(transformer, 512);
  decode(transformer, 1, 256);
  decode(transformer, 32, 128);
}

}  // namespace
}  // namespace quench::worker

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: decode_speed DIRECTORY [THREADS] [BITS]\n");
    return 2;
  }
  try {
    quench::worker::measure(argv[1], argc > 2 ? std::stoi(argv[2]) : 1,
                            argc > 3 ? static_cast<std::uint32_t>(std::stoul(argv[3])) : 16);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
