#include "worker/quantize/calibration.h"

#include <array>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "schemas/error.h"
#include "worker/generate/random_stream.h"

namespace quench::worker {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw errno_error(ErrorCode::bad_input, "calibration file " + path + " cannot be opened", errno);
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad())
    throw errno_error(ErrorCode::bad_input, "calibration file " + path + " cannot be read", errno);
  return std::move(text).str();
}

// Unbiased draws below a bound, by rejection: the standard's distributions differ between libraries, and
// the windows must not.
class WindowGenerator {
 public:
  explicit WindowGenerator(std::uint64_t seed)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)} {}
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % bound;
    std::uint64_t value = next();
    while (value >= limit) value = next();
    return value % bound;
  }

 private:
  std::uint64_t next() {
    const std::array<std::uint32_t, 4> random = philox4x32({counter_++, 0, 0, 0}, key_);
    return std::uint64_t{random[0]} << 32 | random[1];
  }
  std::array<std::uint32_t, 2> key_;
  std::uint32_t counter_ = 0;
};

// Fills the digest in.
CalibrationSet finished(CalibrationSet set) {
  set.digest = windows_digest(set.sequences, set.length);
  return set;
}

}  // namespace

Digest windows_digest(const std::vector<std::vector<TokenId>>& sequences, std::uint32_t length) {
  Hasher hasher;
  hasher.update_u64(sequences.size()).update_u64(length);
  for (const std::vector<TokenId>& sequence : sequences)
    for (const TokenId id : sequence) hasher.update_u64(static_cast<std::uint64_t>(id));
  return hasher.finish();
}

CalibrationSet build_calibration(const CalibrationSpec& spec, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  for (const std::string& file : spec.files) {
    const std::vector<TokenId> ids = tokenizer.encode(read_text(file), AddSpecialTokens::no);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  const std::uint64_t needed = std::uint64_t{spec.length} + spec.sequences - 1;
  if (tokens.size() < needed) {
    std::string names;
    for (const std::string& file : spec.files) names += (names.empty() ? "" : ", ") + file;
    throw Error(ErrorCode::bad_input,
                "the calibration text (" + names + ") has " + std::to_string(tokens.size()) + " tokens; " +
                    std::to_string(spec.sequences) + " different sequences of " +
                    std::to_string(spec.length) + " need at least " + std::to_string(needed) +
                    ": give more text, or fewer or shorter sequences");
  }

  const std::uint64_t places = tokens.size() - spec.length + 1;
  WindowGenerator generator(spec.seed);
  std::set<std::uint64_t> starts;
  // Spread over the text first, so that windows overlap only where there is no other way.
  const bool apart = places / spec.sequences >= spec.length;
  while (starts.size() < spec.sequences) {
    if (apart) {
      const std::uint64_t stride = places / spec.sequences;
      starts.insert(stride * starts.size() + generator.below(stride - spec.length + 1));
    } else {
      starts.insert(generator.below(places));
    }
  }

  CalibrationSet set;
  set.length = spec.length;
  for (const std::uint64_t start : starts) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(start);
    set.sequences.emplace_back(first, first + spec.length);
  }
  return finished(std::move(set));
}

CalibrationSet random_calibration(const CalibrationSpec& spec, std::uint32_t vocabulary) {
  WindowGenerator generator(spec.seed);
  CalibrationSet set;
  set.length = spec.length;
  set.sequences.assign(spec.sequences, std::vector<TokenId>(spec.length));
  for (std::vector<TokenId>& sequence : set.sequences)
    for (TokenId& id : sequence) id = static_cast<TokenId>(generator.below(vocabulary));
  return finished(std::move(set));
}

SequenceShare sequence_share(std::uint32_t sequences, std::uint32_t rank, std::uint32_t world) {
  const auto at = [&](std::uint32_t r) {
    return static_cast<std::uint32_t>(std::uint64_t{sequences} * r / world);
  };
  return {at(rank), at(rank + 1)};
}

}  // namespace quench::worker
