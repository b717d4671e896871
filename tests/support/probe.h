// What the peer checks ask of our engine: the logits of a prefill and the greedy tokens that follow.
#pragma once

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "schemas/error.h"
#include "worker/model/transformer.h"

namespace quench::testing {

// Runs the model on the token ids of a file (decimal, separated by blanks) and writes `logits` [T, V] of the prefill and
// `greedy_ids` [greedy] that follow. Throws Error(bad_input) for a file without ids.
inline void probe(const worker::WeightSource& source, const std::string& ids_file, std::size_t greedy, const std::string& out) {
  std::ifstream in(ids_file);
  const std::vector<std::int32_t> ids{std::istream_iterator<std::int32_t>(in), {}};
  if (ids.empty()) throw Error(ErrorCode::bad_input, ids_file + ": no token ids");
  const auto backend = kernels::make_cpu_backend({.threads = 2});
  worker::Transformer transformer(*backend, source);
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
  const auto append = [](SafetensorsWriter& writer, const auto& values) {
    writer.append({reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(values[0])});
  };
  SafetensorsWriter writer(out,
                           {{"greedy_ids", DType::i32, {tokens.size()}},
                            {"logits", DType::f32, {ids.size(), transformer.config().vocab_size}}},
                           {});
  append(writer, tokens);
  append(writer, logits);
  writer.finish();
}

// The exit status of a probe's main(): 1 and the reason on stderr when `run` throws.
template <typename Run>
int probe_status(Run&& run) {
  try {
    run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace quench::testing
