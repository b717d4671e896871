#include "worker/tokenize/normalizer.h"

#include "schemas/error.h"
#include "worker/tokenize/canonical_form.h"

namespace quench::worker {
namespace {

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(const JsonNode& node) {
    node.expect_keys({"type", "normalizers"});
    const JsonNode list = node.get("normalizers");
    for (std::size_t i = 0; i < list.size(); ++i) parts_.push_back(read_normalizer(list.at(i)));
  }
  std::string apply(std::string text, MatchBudget& budget) const override {
    for (const auto& part : parts_) {
      if (part) text = part->apply(std::move(text), budget);
    }
    return text;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

// LLaMA's leading ▁.
class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(const JsonNode& node) {
    node.expect_keys({"type", "prepend"});
    prepend_ = node.get("prepend").as_string();
  }
  std::string apply(std::string text, MatchBudget&) const override {
    if (!text.empty()) text.insert(0, prepend_);
    return text;
  }

 private:
  std::string prepend_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  explicit ReplaceNormalizer(const JsonNode& node) : pattern_(Pattern::from_json(node.get("pattern"))) {
    node.expect_keys({"type", "pattern", "content"});
    content_ = node.get("content").as_string();
  }
  std::string apply(std::string text, MatchBudget& budget) const override {
    return pattern_.replace_all(text, content_, budget);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// Qwen's.
class CanonicalNormalizer final : public Normalizer {
 public:
  explicit CanonicalNormalizer(const JsonNode& node) { node.expect_keys({"type"}); }
  std::string apply(std::string text, MatchBudget&) const override { return canonical_composition(std::move(text)); }
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const JsonNode& node) {
  if (node.is_null()) return nullptr;
  const JsonNode type = node.get("type");
  const std::string& name = type.as_string();
  if (name == "Sequence") return std::make_unique<SequenceNormalizer>(node);
  if (name == "Prepend") return std::make_unique<PrependNormalizer>(node);
  if (name == "Replace") return std::make_unique<ReplaceNormalizer>(node);
  if (name == "NFC") return std::make_unique<CanonicalNormalizer>(node);
  type.fail("the normalizer \"" + name + "\" is not known; known are Sequence, Prepend, Replace and NFC");
}

}  // namespace quench::worker
