#include "worker/tokenize/post_processor.h"

#include "worker/tokenize/bpe_model.h"

namespace quench::worker {
namespace {

// A template may name this many tokens around a text; LLaMA's has one.
constexpr std::size_t kTemplatePartsMax = 64;

std::vector<TokenId> read_special_ids(const JsonNode& special_tokens, const JsonNode& name) {
  special_tokens.expect_object();
  if (!special_tokens.has(name.as_string().c_str())) {
    name.fail("the special token \"" + name.as_string() + "\" is not among the template's special_tokens");
  }
  const JsonNode token = special_tokens.get(name.as_string().c_str());
  token.expect_keys({"id", "ids", "tokens"});
  const JsonNode list = token.get("ids");
  if (list.size() > kTemplatePartsMax) list.fail("more ids than any template has");
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < list.size(); ++i) {
    ids.push_back(static_cast<TokenId>(list.at(i).as_integer(0, kVocabularyMax - 1)));
  }
  return ids;
}

PostProcessor read_template(const JsonNode& node) {
  // "pair" says how two texts are joined; Quench encodes one.
  node.expect_keys({"type", "single", "pair", "special_tokens"});
  const JsonNode parts = node.get("single");
  if (parts.size() > kTemplatePartsMax) parts.fail("more parts than any template has");
  PostProcessor result;
  bool seen_text = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const JsonNode part = parts.at(i);
    part.expect_keys({"SpecialToken", "Sequence"});
    if (part.has("Sequence")) {
      const JsonNode name = part.get("Sequence").get("id");
      if (name.as_string() != "A" || seen_text)
        name.fail("expected the text \"A\" once in a template for one text");
      seen_text = true;
      continue;
    }
    const auto ids = read_special_ids(node.get("special_tokens"), part.get("SpecialToken").get("id"));
    auto& side = seen_text ? result.after : result.before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!seen_text) parts.fail("the template leaves the text out");
  return result;
}

PostProcessor read_sequence(const JsonNode& node) {
  node.expect_keys({"type", "processors"});
  const JsonNode list = node.get("processors");
  PostProcessor result;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const PostProcessor outer = read_post_processor(list.at(i));
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
  }
  return result;
}

}  // namespace

PostProcessor read_post_processor(const JsonNode& node) {
  if (node.is_null()) return {};
  const JsonNode type = node.get("type");
  const std::string& name = type.as_string();
  if (name == "TemplateProcessing") return read_template(node);
  if (name == "Sequence") return read_sequence(node);
  if (name == "ByteLevel") {
    node.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return {};
  }
  type.fail("the post-processor \"" + name +
            "\" is not known; known are TemplateProcessing, ByteLevel and Sequence");
}

}  // namespace quench::worker
