#include "worker/generate/batch_decoder.h"

#include <algorithm>
#include <utility>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// Where the earliest stop string begins in `text`, looking only at matches that end in its last
// `fresh_bytes` bytes; npos when there is none.
std::size_t find_stop(const std::string& text, std::size_t fresh_bytes,
                      const std::vector<std::string>& stops) {
  std::size_t earliest = std::string::npos;
  for (const std::string& stop : stops) {
    const std::size_t reach = fresh_bytes + stop.size() - 1;
    earliest = std::min(earliest, text.find(stop, text.size() > reach ? text.size() - reach : 0));
  }
  return earliest;
}

}  // namespace

struct BatchDecoder::Active {
  GenerationRequest request;
  SequenceCache cache;
  std::size_t prefilled = 0;          // prompt tokens that went through the model
  std::span<const std::int32_t> fed;  // this step's tokens
  Completion completion;

  Active(GenerationRequest what, const Transformer& transformer, std::int64_t capacity)
      : request(std::move(what)), cache(transformer.config(), capacity, transformer.backend().memory()) {
    completion.id = request.id;
  }
  std::span<const std::int32_t> prompt_left() const { return std::span(request.prompt).subspan(prefilled); }
};

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::end_of_text:
      return "end_of_text";
    case FinishReason::stop_string:
      return "stop_string";
    case FinishReason::complete:
      return "complete";
    case FinishReason::length:
      return "length";
    case FinishReason::context_full:
      return "context_full";
  }
  return "unknown";
}

BatchDecoder::BatchDecoder(Transformer& transformer, TokenBytes token_bytes, const BatchLimits& limits)
    : transformer_(transformer), token_bytes_(std::move(token_bytes)), limits_(limits) {
  QUENCH_CHECK(limits_.sequences_max > 0 && limits_.rows_max >= limits_.sequences_max, limits_.sequences_max,
               limits_.rows_max);
}

BatchDecoder::~BatchDecoder() = default;

void BatchDecoder::add(GenerationRequest request) {
  const std::string place = "request " + std::to_string(request.id);
  in_context(place, [&] { check_settings(request.sampling); });
  if (request.prompt.empty())
    throw Error(ErrorCode::bad_input, place + ": the prompt has no tokens; expected at least one");
  for (const std::int32_t token : request.prompt)
    if (token < 0 || std::cmp_greater_equal(token, transformer_.config().vocab_size))
      throw Error(ErrorCode::bad_input, place + ": token " + std::to_string(token) +
                                            " is outside the vocabulary of " +
                                            std::to_string(transformer_.config().vocab_size) +
                                            "; the tokenizer belongs to another model");
  if (std::any_of(request.stop_strings.begin(), request.stop_strings.end(),
                  [](const auto& stop) { return stop.empty(); }))
    throw Error(ErrorCode::bad_input, place + ": a stop string is empty; expected at least one byte");
  waiting_.push_back(std::move(request));
}

// Moves waiting requests into the free places of the batch.
void BatchDecoder::admit(std::vector<Completion>& ended) {
  while (!waiting_.empty() && active_.size() < limits_.sequences_max) {
    GenerationRequest request = std::move(waiting_.front());
    waiting_.pop_front();
    const std::int64_t prompt_tokens = static_cast<std::int64_t>(request.prompt.size());
    if (prompt_tokens > transformer_.positions_max() || request.max_new_tokens == 0) {
      const auto reason = request.max_new_tokens == 0 ? FinishReason::length : FinishReason::context_full;
      ended.push_back({.id = request.id, .text = {}, .tokens = {}, .reason = reason});
      continue;
    }
    // The last new token is never fed back, so the cache holds one less.
    const std::int64_t capacity =
        std::min<std::int64_t>(transformer_.positions_max(), prompt_tokens + request.max_new_tokens - 1);
    active_.push_back(std::make_unique<Active>(std::move(request), transformer_, capacity));
  }
}

// Adds a new token to a completion; true when that ends it.
bool BatchDecoder::take(Active& active, std::int32_t token) const {
  const GenerationRequest& request = active.request;
  Completion& completion = active.completion;
  if (std::find(request.eos_ids.begin(), request.eos_ids.end(), token) != request.eos_ids.end()) {
    completion.reason = FinishReason::end_of_text;
    return true;
  }
  completion.tokens.push_back(token);
  const std::string bytes = token_bytes_(token);
  completion.text += bytes;
  if (const std::size_t stop = find_stop(completion.text, bytes.size(), request.stop_strings);
      stop != std::string::npos) {
    completion.text.resize(stop);
    completion.reason = FinishReason::stop_string;
    return true;
  }
  if (request.is_complete && request.is_complete(completion.text)) {
    completion.reason = FinishReason::complete;
    return true;
  }
  if (completion.tokens.size() >= request.max_new_tokens) {
    completion.reason = FinishReason::length;
    return true;
  }
  if (active.cache.length() >= transformer_.positions_max()) {
    completion.reason = FinishReason::context_full;
    return true;
  }
  return false;
}

std::vector<Completion> BatchDecoder::step() {
  std::vector<Completion> ended;
  admit(ended);
  if (active_.empty()) return ended;

  // Decoding sequences first, one row each; what is left of the rows goes to prompts, oldest first.
  std::size_t rows_left = limits_.rows_max;
  for (const auto& active : active_) {
    const bool decoding = active->prompt_left().empty();
    active->fed = decoding ? std::span(active->completion.tokens).last(1) : std::span<const std::int32_t>();
    rows_left -= active->fed.size();
  }
  std::vector<SequenceStep> steps;
  std::vector<Active*> fed;
  for (const auto& active : active_) {
    if (const auto left = active->prompt_left(); !left.empty()) {
      active->fed = left.first(std::min(left.size(), rows_left));
      rows_left -= active->fed.size();
      active->prefilled += active->fed.size();
    }
    if (active->fed.empty()) continue;
    steps.push_back({&active->cache, active->fed});
    fed.push_back(active.get());
  }
  const kernels::ConstMatrixView logits = transformer_.forward(steps);

  std::vector<const Active*> finished;
  for (std::size_t i = 0; i < fed.size(); ++i) {
    Active& active = *fed[i];
    if (!active.prompt_left().empty()) continue;
    const std::span<const float> row(logits.row(static_cast<std::int64_t>(i)),
                                     static_cast<std::size_t>(logits.cols));
    const auto token_number = static_cast<std::uint32_t>(active.completion.tokens.size());
    const double u = uniform(active.request.key, token_number);
    if (!take(active, sampler_.sample(transformer_.backend(), row, active.request.sampling, u))) continue;
    ended.push_back(std::move(active.completion));
    finished.push_back(&active);
  }
  std::erase_if(active_, [&](const auto& active) {
    return std::find(finished.begin(), finished.end(), active.get()) != finished.end();
  });
  return ended;
}

std::vector<Completion> BatchDecoder::run() {
  std::vector<Completion> all;
  while (pending() > 0)
    for (Completion& completion : step()) all.push_back(std::move(completion));
  return all;
}

}  // namespace quench::worker
