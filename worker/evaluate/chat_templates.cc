#include "worker/evaluate/chat_templates.h"

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "schemas/small_file.h"

namespace quench::worker {
namespace {

constexpr std::size_t kConfigBytesMax = 16 << 20;
constexpr std::string_view kDeepSeekSystem =
    "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by Deepseek Company, "
    "and you "
    "only answer questions related to computer science. For politically sensitive questions, security and "
    "privacy "
    "issues, and other non-computer science questions, you will refuse to answer\n";
constexpr std::string_view kDeepSeekEnd = "<|EOT|>";
// ChatML with the system prompt that Qwen2.5's template puts where a conversation has none.
constexpr std::string_view kQwenSystem =
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n";
constexpr std::string_view kQwenStart = "<|im_start|>", kQwenEnd = "<|im_end|>";

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

std::string chat_text(ChatTemplate chat, const Question& question) {
  switch (chat) {
    case ChatTemplate::codellama_instruct: {
      std::string text = "[INST] " + std::string(stripped(question.text)) + " [/INST]";
      if (!question.answer_start.empty()) text += " " + question.answer_start;
      return text;
    }
    case ChatTemplate::deepseek_coder_instruct:
      return std::string(kDeepSeekSystem) + "### Instruction:\n" + question.text + "\n### Response:\n" +
             question.answer_start;
    case ChatTemplate::qwen_coder_instruct:
      return std::string(kQwenSystem) + "<|im_start|>user\n" + question.text + "<|im_end|>\n<|im_start|>assistant\n" +
             question.answer_start;
    case ChatTemplate::none:
    case ChatTemplate::automatic:
      break;
  }
  throw Error(ErrorCode::internal, "a chat without a template");
}

std::vector<TokenId> question_tokens(const Tokenizer& tokenizer, ChatTemplate chat,
                                     const Question& question) {
  if (chat == ChatTemplate::none) return tokenizer.encode(question.text, AddSpecialTokens::yes);
  std::vector<TokenId> ids = tokenizer.encode(chat_text(chat, question), AddSpecialTokens::yes);
  const auto bos = tokenizer.bos_id();
  if (bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
  return ids;
}

std::vector<TokenId> chat_end_ids(const Tokenizer& tokenizer, ChatTemplate chat) {
  if (chat != ChatTemplate::deepseek_coder_instruct && chat != ChatTemplate::qwen_coder_instruct) return {};
  const auto end = tokenizer.id_of(chat == ChatTemplate::qwen_coder_instruct ? kQwenEnd : kDeepSeekEnd);
  return end ? std::vector<TokenId>{*end} : std::vector<TokenId>{};
}

std::string read_chat_template(const std::filesystem::path& model_dir) {
  const std::filesystem::path file = model_dir / "tokenizer_config.json";
  if (!std::filesystem::is_regular_file(file)) return {};
  const auto config = nlohmann::json::parse(read_small_file(file, kConfigBytesMax), nullptr, false);
  if (!config.is_object()) throw Error(ErrorCode::bad_input, file.string() + " is no JSON object");
  const auto found = config.find("chat_template");
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  // Several, each with a name: the one called default is the one that a chat without tools takes.
  if (found->is_array())
    for (const auto& one : *found)
      if (one.is_object() && one.value("name", nlohmann::json()) == "default" && one.contains("template") &&
          one["template"].is_string())
        return one["template"].get<std::string>();
  return {};
}

ChatTemplate resolved_chat(ChatTemplate asked, std::string_view model_template) {
  if (asked != ChatTemplate::automatic) return asked;
  if (holds(model_template, "### Instruction:") && holds(model_template, "### Response:") &&
      holds(model_template, kDeepSeekEnd))
    return ChatTemplate::deepseek_coder_instruct;
  if (holds(model_template, "[INST]") && holds(model_template, "[/INST]") && holds(model_template, "<<SYS>>"))
    return ChatTemplate::codellama_instruct;
  if (holds(model_template, kQwenStart) && holds(model_template, kQwenEnd) && holds(model_template, "You are Qwen, created by Alibaba Cloud."))
    return ChatTemplate::qwen_coder_instruct;
  throw Error(
      ErrorCode::bad_input,
      std::string("\"chat\": \"auto\", but the model's tokenizer_config.json ") +
          (model_template.empty() ? "has no chat_template"
                                  : "has a chat_template that is not CodeLlama's, DeepSeek-Coder's or Qwen2.5-Coder's") +
          "; name \"codellamaInstruct\", \"deepseekCoderInstruct\" or \"qwenCoderInstruct\", or leave \"chat\" out for a base "
          "model");
}

}  // namespace quench::worker
