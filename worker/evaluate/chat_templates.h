// How three families of instruct models are spoken to: CodeLlama-Instruct, DeepSeek-Coder-Instruct and Qwen2.5-Coder-Instruct.
// Their templates are written here; a model's own (a program in Jinja) is read only to tell which of them it is.
// Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/job_spec.h"
#include "worker/evaluate/prompts.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

// The text in which a model finds one question and begins its answer, without the token that begins a text.
// `chat` is one of the three templates.
std::string chat_text(ChatTemplate chat, const Question& question);

// What a model is given, as token ids. With a template the token that begins a text is first, once, whether
// the tokenizer adds it or not; without one it is the tokenizer's affair.
std::vector<TokenId> question_tokens(const Tokenizer& tokenizer, ChatTemplate chat, const Question& question);

// Tokens beside the model's own end of text that end an answer.
std::vector<TokenId> chat_end_ids(const Tokenizer& tokenizer, ChatTemplate chat);

// The template of tokenizer_config.json in a model's directory; empty when it has none. Throws
// Error(bad_input) for a file that is no JSON object.
std::string read_chat_template(const std::filesystem::path& model_dir);

// `asked`, or for `automatic` the one of the three that the model's template is. Throws Error(bad_input) when
// it is none of them.
ChatTemplate resolved_chat(ChatTemplate asked, std::string_view model_template);

}  // namespace quench::worker
