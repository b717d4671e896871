#include "worker/calibration/load_set.h"

#include "schemas/error.h"

namespace quench::worker {

CalibrationSet load_set(const Manifest& manifest, const CalibrationSpec& spec, const Tokenizer& tokenizer,
                        const ChunkReader& read_chunk) {
  const CalibrationRecord& record = require_set(manifest, spec.set);
  if (sha256_file(tokenizer.path()) != record.tokenizer)
    throw Error(ErrorCode::bad_input, "the calibration set " + spec.set +
                                          " was made with another tokenizer than " +
                                          tokenizer.path().string() + ": build one with --tokenizer " +
                                          tokenizer.path().parent_path().string());
  if (spec.sequences > record.sequences || spec.length > record.length)
    throw Error(ErrorCode::bad_input,
                "the calibration set " + spec.set + " has " + std::to_string(record.sequences) +
                    " sequences of " + std::to_string(record.length) + " tokens; the job asks for " +
                    std::to_string(spec.sequences) + " of " + std::to_string(spec.length) +
                    ": ask for no more, or build a larger set");
  std::vector<std::uint8_t> bytes;
  for (const ChunkRef& chunk : tensor_named(manifest, kSetTokens).chunks) {
    const std::vector<std::uint8_t> part = read_checked_chunk(read_chunk, chunk);
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  CalibrationSet set;
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < record.sequences; ++i) {
    std::vector<TokenId>& sequence = set.sequences.emplace_back(record.length);
    for (TokenId& id : sequence) {
      std::uint32_t value = 0;
      for (unsigned byte = 0; byte < 4; ++byte)
        value |= static_cast<std::uint32_t>(bytes.at(at++)) << 8 * byte;
      id = static_cast<TokenId>(value);
      if (id < 0 || id >= tokenizer.vocabulary_size())
        throw Error(ErrorCode::corrupt, "the calibration set " + spec.set + " holds the token id " +
                                            std::to_string(id) + ", which its tokenizer does not have");
    }
  }
  if (windows_digest(set.sequences, record.length) != record.windows)
    throw Error(ErrorCode::corrupt,
                "the calibration set " + spec.set + " does not hold the windows that its record names");
  set.length = spec.length == 0 ? record.length : spec.length;
  if (spec.sequences > 0) set.sequences.resize(spec.sequences);
  for (std::vector<TokenId>& sequence : set.sequences) sequence.resize(set.length);
  set.digest = windows_digest(set.sequences, set.length);
  return set;
}

}  // namespace quench::worker
