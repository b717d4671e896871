#include "worker/calibration/build_set.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "schemas/error.h"
#include "worker/calibration/benchmark_text.h"
#include "worker/calibration/near_duplicates.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kToldDocuments = 100'000;

// How many sequences each form gives.
std::array<std::uint32_t, kDocumentForms> wanted_of(CalibrationKind kind, std::uint32_t sequences) {
  std::array<std::uint32_t, kDocumentForms> wanted{};
  const auto set = [&](DocumentForm form, std::uint32_t count) {
    wanted[static_cast<std::size_t>(form)] = count;
  };
  if (kind == CalibrationKind::random) {
    set(DocumentForm::prose, sequences);
    return wanted;
  }
  const std::uint32_t questions = kind == CalibrationKind::mixed ? sequences / 2 : 0;
  const std::uint32_t code = sequences - questions;
  set(DocumentForm::question, questions);
  set(DocumentForm::java, code / 2);
  set(DocumentForm::python, code - code / 2);
  return wanted;
}

std::uint32_t least_sequences(CalibrationKind kind) {
  return kind == CalibrationKind::random ? 1 : kind == CalibrationKind::code ? 2 : 4;
}

std::string name_of(CalibrationKind kind) { return std::string(to_string(kind)); }

struct Part {  // of a sequence: one document
  std::uint32_t first_token = 0;
  std::uint32_t tokens = 0;
  const Document* document = nullptr;
};

struct Sequence {
  std::vector<TokenId> ids;
  std::vector<Part> parts;
};

class SetBuilder {
 public:
  SetBuilder(const SetOptions& options, const Tokenizer& tokenizer, const Teller& tell)
      : options_(options),
        tokenizer_(tokenizer),
        tell_(tell),
        wanted_(wanted_of(options.kind, options.sequences)) {
    for (std::size_t form = 0; form < kDocumentForms; ++form)
      candidates_.emplace_back(options.seed, limits_of(options));
  }

  BuiltSet build() {
    read();
    std::vector<Sequence> sequences;
    for (std::size_t form = 0; form < kDocumentForms; ++form)
      if (wanted_[form] > 0) fill(static_cast<DocumentForm>(form), wanted_[form], sequences);
    shuffle(sequences);
    return finish(std::move(sequences));
  }

 private:
  static CandidateLimits limits_of(const SetOptions& options) {
    CandidateLimits limits = options.limits;
    limits.per_repository *= options.files_per_repository;
    return limits;
  }

  void read() {
    const DocumentSink sink = [&](Document document) {
      if (tally_.documents_read() % kToldDocuments == 0)
        tell_(std::to_string(tally_.documents_read()) + " documents read");
      const auto form = static_cast<std::size_t>(document.form);
      // A benchmark's text is counted wherever it stands: it says what the sources are.
      if (!benchmarks_.find(document.text).empty()) return tally_.leave_out(Reason::benchmark);
      if (wanted_[form] == 0) return tally_.leave_out(Reason::unwanted);
      candidates_[form].add(std::move(document), tally_);
    };
    read_sources(options_.sources, tally_, sink);
    tell_(std::to_string(tally_.documents_read()) + " documents read; left out: " + tally_.to_string());
  }

  std::optional<std::vector<TokenId>> encode(const std::string& text) {
    try {
      return tokenizer_.encode(text, AddSpecialTokens::no);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      tally_.leave_out(Reason::untokenizable);
      return std::nullopt;
    }
  }

  void fill(DocumentForm form, std::uint32_t wanted, std::vector<Sequence>& sequences) {
    const std::size_t before = sequences.size();
    Sequence open;  // questions are gathered in it
    std::map<std::string, std::uint32_t> of_repository;
    std::uint64_t tokens = 0;
    for (const auto& [key, document] : candidates_[static_cast<std::size_t>(form)].in_order()) {
      if (sequences.size() - before == wanted) break;
      const bool is_full =
          !document.repository.empty() && of_repository[document.repository] >= options_.files_per_repository;
      if (is_full) {
        tally_.leave_out(Reason::same_repository);
        continue;
      }
      const std::optional<std::vector<TokenId>> ids = encode(document.text);
      if (!ids) continue;
      tokens += ids->size();
      if (form != DocumentForm::question && ids->size() < options_.length) {
        tally_.leave_out(Reason::too_short);
        continue;
      }
      if (!seen_.add(document.text)) {
        tally_.leave_out(Reason::near_duplicate);
        continue;
      }
      ++used_;
      if (!document.repository.empty()) ++of_repository[document.repository];
      if (form == DocumentForm::question) {
        append(open, document, *ids);
        if (open.ids.size() == options_.length) sequences.push_back(std::exchange(open, {}));
      } else {
        sequences.push_back(window_of(form, document, *ids));
      }
    }
    const std::size_t found = sequences.size() - before;
    if (found < wanted) too_few(form, wanted, found, tokens);
  }

  Sequence window_of(DocumentForm form, const Document& document, const std::vector<TokenId>& ids) {
    std::size_t first = 0;
    if (form == DocumentForm::prose) {
      const Digest drawn = Hasher().update_u64(options_.seed).update("window").update(document.text).finish();
      std::uint64_t number = 0;
      for (std::size_t i = 0; i < sizeof number; ++i) number = number << 8 | drawn.bytes[i];
      first = number % (ids.size() - options_.length + 1);
    }
    Sequence sequence;
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
    sequence.ids.assign(begin, begin + options_.length);
    sequence.parts.push_back({0, options_.length, &document});
    return sequence;
  }

  // As much of the document as fits.
  void append(Sequence& open, const Document& document, const std::vector<TokenId>& ids) {
    const std::size_t room = options_.length - open.ids.size();
    const std::size_t taken = std::min(room, ids.size());
    open.parts.push_back(
        {static_cast<std::uint32_t>(open.ids.size()), static_cast<std::uint32_t>(taken), &document});
    open.ids.insert(open.ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(taken));
    std::vector<TokenId> end;
    if (const auto eos = tokenizer_.eos_id()) {
      end = {*eos};
    } else {
      end = tokenizer_.encode("\n\n", AddSpecialTokens::no);
    }
    for (const TokenId id : end)
      if (open.ids.size() < options_.length) open.ids.push_back(id);
  }

  // By what is in them: kinds and languages alternate as chance will have it.
  void shuffle(std::vector<Sequence>& sequences) const {
    std::vector<std::pair<Digest, Sequence>> drawn;
    for (Sequence& sequence : sequences) {
      Hasher hasher;
      hasher.update_u64(options_.seed).update("sequence");
      for (const TokenId id : sequence.ids) hasher.update_u64(static_cast<std::uint64_t>(id));
      drawn.emplace_back(hasher.finish(), std::move(sequence));
    }
    std::sort(drawn.begin(), drawn.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < sequences.size(); ++i) sequences[i] = std::move(drawn[i].second);
  }

  BuiltSet finish(std::vector<Sequence> sequences) const {
    BuiltSet set;
    std::uint64_t index = 0;
    for (Sequence& sequence : sequences) {
      for (const Part& part : sequence.parts) {
        const Document& document = *part.document;
        ordered_json line{{"sequence", index},
                          {"first_token", part.first_token},
                          {"tokens", part.tokens},
                          {"form", form_name(document.form)},
                          {"origin", document.origin},
                          {"licence", document.licence},
                          {"sha256", sha256(document.text).hex()}};
        if (!document.repository.empty()) line["repository"] = document.repository;
        set.documents += line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
      }
      set.sequences.push_back(std::move(sequence.ids));
      ++index;
    }
    CalibrationRecord& record = set.record;
    record.kind = options_.kind;
    record.sequences = options_.sequences;
    record.length = options_.length;
    record.seed = options_.seed;
    record.tokenizer = sha256_file(tokenizer_.path());
    record.windows = windows_digest(set.sequences, options_.length);
    record.files_per_repository = options_.files_per_repository;
    record.score_min = static_cast<std::int32_t>(options_.sources.score_min);
    record.benchmarks = benchmarks_.digest();
    record.documents_read = tally_.documents_read();
    record.documents_used = used_;
    record.left_out = tally_.left_out();
    return set;
  }

  static const char* form_name(DocumentForm form) {
    switch (form) {
      case DocumentForm::prose:
        return "prose";
      case DocumentForm::python:
        return "python";
      case DocumentForm::java:
        return "java";
      case DocumentForm::question:
        return "question";
    }
    return "unknown";
  }

  [[noreturn]] void too_few(DocumentForm form, std::uint32_t wanted, std::size_t found,
                            std::uint64_t tokens) const {
    const std::string kind(plural_of(form));
    std::string text = "a " + name_of(options_.kind) + " set of " + std::to_string(options_.sequences) +
                       " sequences needs " + std::to_string(wanted) +
                       (wanted == 1 ? " sequence" : " sequences") + " of " + std::to_string(options_.length) +
                       " tokens from " + kind + "; the sources give " + std::to_string(found) + " (" +
                       std::to_string(candidates_[static_cast<std::size_t>(form)].in_order().size()) + " " +
                       kind + " with " + std::to_string(tokens) + " tokens to choose from; " +
                       std::to_string(tally_.documents_read()) +
                       " documents read, left out: " + tally_.to_string() + ")";
    const bool is_code = form == DocumentForm::python || form == DocumentForm::java;
    const bool more_files = is_code && tally_.count(Reason::same_repository) > 0;
    throw Error(ErrorCode::bad_input, text +
                                          ": give more with --from, or ask for fewer or shorter sequences" +
                                          (more_files ? ", or for more --files-per-repository" : ""));
  }

  const SetOptions& options_;
  const Tokenizer& tokenizer_;
  const Teller& tell_;
  const BenchmarkText& benchmarks_ = BenchmarkText::shipped();
  std::array<std::uint32_t, kDocumentForms> wanted_;
  std::vector<Candidates> candidates_;
  NearDuplicates seen_;
  Tally tally_;
  std::uint64_t used_ = 0;
};

void check_options(const SetOptions& options) {
  const std::uint32_t least = least_sequences(options.kind);
  if (options.sequences < least)
    throw Error(ErrorCode::bad_input, "--sequences " + std::to_string(options.sequences) + ": a " +
                                          name_of(options.kind) + " set has at least " +
                                          std::to_string(least) + ", one of each of its parts");
}

TensorRecord raw_tensor(std::string_view name, DType dtype, std::vector<std::uint64_t> shape,
                        std::span<const std::uint8_t> bytes, const ChunkSink& put) {
  TensorRecord tensor;
  tensor.name = name;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  for (std::size_t at = 0; at < bytes.size(); at += kRawChunkBytes) {
    const auto piece = bytes.subspan(at, std::min<std::size_t>(kRawChunkBytes, bytes.size() - at));
    tensor.chunks.push_back({sha256(piece), piece.size()});
    put(tensor.chunks.back(), piece);
  }
  return tensor;
}

}  // namespace

BuiltSet build_set(const SetOptions& options, const Tokenizer& tokenizer, const Teller& tell) {
  check_options(options);
  return SetBuilder(options, tokenizer, tell).build();
}

Manifest set_manifest(const BuiltSet& set, const ChunkSink& put) {
  Manifest manifest;
  manifest.recipe.method = Method::none;
  manifest.set = set.record;
  std::vector<std::uint8_t> tokens;
  for (const std::vector<TokenId>& sequence : set.sequences)
    for (const TokenId id : sequence)
      for (unsigned byte = 0; byte < 4; ++byte)
        tokens.push_back(static_cast<std::uint8_t>(static_cast<std::uint32_t>(id) >> 8 * byte));
  manifest.tensors.push_back(
      raw_tensor(kSetTokens, DType::i32, {set.record.sequences, set.record.length}, tokens, put));
  const std::span documents(reinterpret_cast<const std::uint8_t*>(set.documents.data()),
                            set.documents.size());
  manifest.tensors.push_back(raw_tensor(kSetDocuments, DType::u8, {documents.size()}, documents, put));
  return manifest;
}

}  // namespace quench::worker
