#include "worker/evaluate/chat_templates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "schemas/error.h"
#include "worker/evaluate/answers.h"

namespace quench::worker {
namespace {

using testing::HasSubstr;

const std::string kSystem =
    "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by Deepseek Company, "
    "and you "
    "only answer questions related to computer science. For politically sensitive questions, security and "
    "privacy "
    "issues, and other non-computer science questions, you will refuse to answer\n";

// What jinja2 3.1.6, set as transformers 5.23 sets it, makes of the published templates for these messages
// with add_generation_prompt; with a first assistant message, its text up to a mark inside the code block.
TEST(ChatTemplates, TextIsWhatThePublishedTemplatesGive) {
  EXPECT_EQ(chat_text(ChatTemplate::codellama_instruct, {"Q?\n", "", {}}), "[INST] Q? [/INST]");
  EXPECT_EQ(chat_text(ChatTemplate::codellama_instruct, {"Q?\n", "A:\n```python\n", {}}),
            "[INST] Q? [/INST] A:\n```python\n");
  EXPECT_EQ(chat_text(ChatTemplate::deepseek_coder_instruct, {"Q?\n", "", {}}),
            kSystem + "### Instruction:\nQ?\n\n### Response:\n");
  EXPECT_EQ(chat_text(ChatTemplate::deepseek_coder_instruct, {"Q?\n", "A:\n```python\n", {}}),
            kSystem + "### Instruction:\nQ?\n\n### Response:\nA:\n```python\n");
}

TEST(ChatTemplates, QwenCoderIsAskedInChatMl) {
  const std::string system = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n";
  EXPECT_EQ(chat_text(ChatTemplate::qwen_coder_instruct, {"Q?\n", "A:\n```python\n", {}}),
            system + "<|im_start|>user\nQ?\n<|im_end|>\n<|im_start|>assistant\nA:\n```python\n");
}

TEST(ChatTemplates, TokensBeginWithOneBeginOfText) {
  for (const auto& [name, chat] : {std::pair("llama-spm", ChatTemplate::codellama_instruct),
                                   std::pair("deepseek-coder", ChatTemplate::deepseek_coder_instruct)}) {
    const auto tokenizer = load_tokenizer(std::filesystem::path(QUENCH_TOKENIZERS_DIR) / name);
    const Question question{"Write f(x) = x + 1.\n", "Here:\n```python\n", {}};
    const std::vector<TokenId> ids = question_tokens(*tokenizer, chat, question);
    ASSERT_TRUE(tokenizer->bos_id()) << name;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer->bos_id()), 1) << name;
    EXPECT_EQ(ids.front(), *tokenizer->bos_id()) << name;
    EXPECT_EQ(tokenizer->decode(ids, SkipSpecialTokens::yes), chat_text(chat, question)) << name;
  }
}

TEST(ChatTemplates, DeepSeekCoderEndsAnAnswerWithItsOwnToken) {
  const auto tokenizer = load_tokenizer(std::filesystem::path(QUENCH_TOKENIZERS_DIR) / "deepseek-coder");
  EXPECT_THAT(chat_end_ids(*tokenizer, ChatTemplate::deepseek_coder_instruct), testing::ElementsAre(32021));
  EXPECT_TRUE(chat_end_ids(*tokenizer, ChatTemplate::codellama_instruct).empty());
}

TEST(ChatTemplates, AutoTellsThemApart) {
  const auto resolved = [](std::string_view text) { return resolved_chat(ChatTemplate::automatic, text); };
  EXPECT_EQ(resolved("{{bos_token + '[INST] ' + '<<SYS>>\\n' + content + ' [/INST]'}}"),
            ChatTemplate::codellama_instruct);
  EXPECT_EQ(resolved("{{'### Instruction:\\n' + m + '\\n'}}{{'### Response:\\n' + m + '\\n<|EOT|>\\n'}}"),
            ChatTemplate::deepseek_coder_instruct);
  EXPECT_EQ(resolved("{{'<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>'}}"),
            ChatTemplate::qwen_coder_instruct);
  EXPECT_EQ(resolved_chat(ChatTemplate::codellama_instruct, "anything"), ChatTemplate::codellama_instruct);
  EXPECT_EQ(resolved_chat(ChatTemplate::none, "anything"), ChatTemplate::none);
  for (const auto& [text, part] : {std::pair("", "has no chat_template"),
                                   std::pair("<|im_start|>user", "not CodeLlama's, DeepSeek-Coder's or Qwen2.5-Coder's"),
                                   std::pair("[INST] {{m}} [/INST]", "not CodeLlama's")}) {
    try {
      resolved(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      EXPECT_THAT(error.what(), HasSubstr(part));
      EXPECT_THAT(error.what(), HasSubstr("deepseekCoderInstruct"));
    }
  }
}

TEST(ChatTemplates, AreReadFromTheModelsDirectory) {
  const auto dir = std::filesystem::path(testing::TempDir()) / ("chat-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  EXPECT_EQ(read_chat_template(dir), "");
  const auto write = [&](const char* text) { std::ofstream(dir / "tokenizer_config.json") << text; };
  write("{}");
  EXPECT_EQ(read_chat_template(dir), "");
  write(R"({"chat_template": "t"})");
  EXPECT_EQ(read_chat_template(dir), "t");
  write(
      R"({"chat_template": [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}, 3]})");
  EXPECT_EQ(read_chat_template(dir), "b");
  write(R"({"chat_template": 7})");
  EXPECT_EQ(read_chat_template(dir), "");
  write("[");
  EXPECT_THROW(read_chat_template(dir), Error);
  std::filesystem::remove_all(dir);
}

TEST(CodeBlock, IsTheFirstThatDefinesSomething) {
  EXPECT_EQ(code_block(Language::python, "Sure:\n```python\ndef f():\n    return 1\n```\nDone."), "def f():\n    return 1\n");
  EXPECT_EQ(code_block(Language::python, "Install:\n```sh\npip install x\n```\nthen\n```\nclass A:\n    pass\n```\n"),
            "class A:\n    pass\n");
  EXPECT_EQ(code_block(Language::python, "```\nprint(1)\n```\n```\nprint(2)\n```"), "print(1)\n");
  EXPECT_EQ(code_block(Language::python, "```python\ndef f():\n    return 1"), "def f():\n    return 1\n") << "cut short";
  EXPECT_EQ(code_block(Language::python, "def f():\n    return 1\n"), "def f():\n    return 1\n");
  EXPECT_EQ(code_block(Language::python, "1. so:\n   ```python\n   x = 1\n   ```\n"), "   x = 1\n");
  EXPECT_EQ(code_block(Language::python, "```python\n```python\ndef f(): pass\n```\n"), "def f(): pass\n");
  EXPECT_EQ(code_block(Language::python, "```sh\nls\n```python\ndef f(): pass\n```\n"), "def f(): pass\n") << "one left open";
  EXPECT_EQ(code_block(Language::python, ""), "");
  EXPECT_EQ(code_block(Language::python, "```"), "");
}

}  // namespace
}  // namespace quench::worker
