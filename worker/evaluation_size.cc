#include "worker/evaluation_size.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "schemas/codec.h"
#include "worker/evaluate/evaluation.h"
#include "worker/evaluate/problems.h"
#include "worker/evaluate/prompts.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {
namespace {

nlohmann::ordered_json size_of(const EvaluateSpec& spec, const Tokenizer& tokenizer) {
  const ProblemSet problems =
      shipped_problems(benchmark_from_string(spec.benchmark), language_from_string(spec.language));
  const std::size_t all = problems.problems().size();
  const std::size_t tasks = spec.tasks == 0 ? all : std::min<std::size_t>(all, spec.tasks);
  std::uint64_t completions = 0, prompt_tokens = 0, answer_tokens = 0, steps = 0, tokens_max = 0, steps_max = 0;
  std::uint64_t longest = 0, longest_max = 0;
  bool is_known = true;
  for (std::size_t task = 0; task < tasks; ++task) {
    const Problem& problem = problems.problems()[task];
    const std::size_t prompt =
        tokenizer.encode(question_for(spec, problems, problem).text, AddSpecialTokens::yes).size();
    const std::uint64_t most = new_tokens_max(spec, prompt);
    is_known = is_known && !problem.canonical_solution.empty();
    // What ends a text is a token, too.
    const std::uint64_t answer = std::min<std::uint64_t>(
        most, tokenizer.encode(problem.canonical_solution, AddSpecialTokens::no).size() + 1);
    for (std::uint32_t sample = 0; sample < spec.samples; ++sample) {
      prompt_tokens += prompt;
      answer_tokens += answer;
      tokens_max += most;
      longest = std::max(longest, answer);
      longest_max = std::max(longest_max, most);
      // A lease is decoded until the last of its sequences has ended.
      if (++completions % kLeaseItems == 0 || (task + 1 == tasks && sample + 1 == spec.samples)) {
        steps += longest;
        steps_max += longest_max;
        longest = longest_max = 0;
      }
    }
  }
  nlohmann::ordered_json size{{"completions", completions}, {"prompt_tokens", prompt_tokens},
                              {"answer_tokens", answer_tokens}, {"steps", steps},
                              {"answer_tokens_max", tokens_max}, {"steps_max", steps_max}};
  if (!is_known) size["answer_tokens"] = size["steps"] = nullptr;
  return size;
}

}  // namespace

int print_evaluation_sizes(const std::filesystem::path& job_file) {
  const JobSpec job = read_job(job_file);
  nlohmann::ordered_json sizes = nlohmann::ordered_json::array();
  if (!job.evaluate.empty()) {
    const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(job.model);
    for (const EvaluateSpec& spec : job.evaluate) sizes.push_back(size_of(spec, *tokenizer));
  }
  std::cout << sizes.dump() << "\n";
  return 0;
}

}  // namespace quench::worker
