#include "worker/evaluate/model_completions.h"

#include <algorithm>
#include <deque>
#include <string_view>

#include "worker/evaluate/answers.h"
#include "worker/evaluate/chat_templates.h"
#include "worker/evaluate/evaluation.h"
#include "worker/evaluate/prompts.h"
#include "worker/generate/batch_decoder.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

class ModelCompletions final : public CompletionSource {
 public:
  ModelCompletions(const EvaluateSpec& spec, const ProblemSet& problems, LoadedModel& model)
      : spec_(spec), problems_(problems), model_(model) {
    eos_ids_ = model_.transformer->config().eos_ids;
    if (const auto eos = model_.tokenizer->eos_id();
        eos && std::find(eos_ids_.begin(), eos_ids_.end(), *eos) == eos_ids_.end())
      eos_ids_.push_back(*eos);
    chat_ = resolved_chat(spec.chat, model_.chat_template);
    for (const TokenId end : chat_end_ids(*model_.tokenizer, chat_)) eos_ids_.push_back(end);
  }

  MadeTexts make(const std::vector<LeaseItem>& items, const std::function<void()>& on_progress) override {
    const auto token_bytes = [this](std::int32_t token) {
      return model_.tokenizer->is_special(token) ? std::string() : model_.tokenizer->token_bytes(token);
    };
    // They outlive the decoder, which asks them.
    std::deque<FunctionWatch> watches;
    BatchDecoder decoder(*model_.transformer, token_bytes, {kLeaseItems, 512});
    for (std::size_t i = 0; i < items.size(); ++i) {
      GenerationRequest request;
      request.id = i;
      const Problem& problem = problems_.problems().at(items[i].task);
      const Question question = question_for(spec_, problems_, problem);
      request.prompt = question_tokens(*model_.tokenizer, chat_, question);
      request.max_new_tokens = new_tokens_max(spec_, request.prompt.size());
      request.sampling = {spec_.temperature, spec_.top_k, spec_.top_p};
      request.key = {spec_.seed, items[i].task, items[i].sample};
      request.stop_strings = question.stop_strings;
      request.eos_ids = eos_ids_;
      if (spec_.cut == CompletionCut::first_function) {
        FunctionWatch& watch = watches.emplace_back(watch_of(spec_, problems_, problem));
        request.is_complete = [&watch](std::string_view text) { return watch.is_complete(text); };
      }
      decoder.add(std::move(request));
    }
    MadeTexts made;
    made.texts.resize(items.size());
    while (decoder.pending() > 0) {
      // Byte-level tokens can end inside a character; a text is what people would read of it.
      for (const Completion& completion : decoder.step())
        made.texts.at(completion.id) = {utf8_lossy(completion.text),
                                        static_cast<std::uint32_t>(completion.tokens.size())};
      on_progress();
    }
    return made;
  }

 private:
  EvaluateSpec spec_;
  const ProblemSet& problems_;
  LoadedModel& model_;
  std::vector<std::int32_t> eos_ids_;
  ChatTemplate chat_ = ChatTemplate::none;
};

}  // namespace

std::unique_ptr<CompletionSource> make_model_completions(const EvaluateSpec& spec, const ProblemSet& problems,
                                                         LoadedModel& model) {
  return std::make_unique<ModelCompletions>(spec, problems, model);
}

}  // namespace quench::worker
