// What stands beside a tokenizer.json on the begin and end of a text: tokenizer_config.json,
// special_tokens_map.json, generation_config.json, config.json. These files have many keys for other
// purposes; only those named here are read. Value type.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

struct SpecialSettings {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<TokenId> bos_id;  // used when no file names the token
  std::optional<TokenId> eos_id;
  // tokenizer_config.json's add_bos_token and add_eos_token. When either is there, they replace the
  // post-processor's template, as transformers has it.
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
};

// Files that are missing give nothing. Throws Error(bad_input) when one is there and malformed.
SpecialSettings read_special_settings(const std::filesystem::path& model_dir);

}  // namespace quench::worker
