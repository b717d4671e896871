#include "worker/tokenize/decoder.h"

#include "schemas/error.h"
#include "worker/tokenize/byte_alphabet.h"
#include "worker/tokenize/pattern.h"
#include "worker/tokenize/pre_tokenizer.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr std::int64_t kStripMax = 1024;

// The byte of "<0x0A>", or -1.
int byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : {token[3], token[4]}) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

class ByteLevelDecoder final : public Decoder {
 public:
  explicit ByteLevelDecoder(const JsonNode& node) {
    // All three concern encoding.
    node.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }
  void decode(std::vector<DecodedToken>& tokens) const override {
    std::string bytes;
    for (const DecodedToken& token : tokens) bytes += token_bytes(token);
    tokens = {{utf8_lossy(bytes), true}};
  }
  std::string token_bytes(const DecodedToken& token) const override {
    if (token.literal) return token.text;
    return from_byte_alphabet(token.text).value_or(token.text);
  }
};

class MetaspaceDecoder final : public Decoder {
 public:
  explicit MetaspaceDecoder(const JsonNode& node)
      : options_(MetaspaceOptions::from_json(node)), pattern_(Pattern::literal(options_.replacement)) {}
  void decode(std::vector<DecodedToken>& tokens) const override {
    const bool prepended = options_.prepend != MetaspaceOptions::Prepend::never;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i].text = replace(tokens[i].text, i == 0 && prepended ? "" : " ");
  }
  std::string token_bytes(const DecodedToken& token) const override { return replace(token.text, " "); }

 private:
  std::string replace(const std::string& text, const char* content) const {
    MatchBudget budget(text.size());
    return pattern_.replace_all(text, content, budget);
  }
  MetaspaceOptions options_;
  Pattern pattern_;
};

class ReplaceDecoder final : public Decoder {
 public:
  explicit ReplaceDecoder(const JsonNode& node) : pattern_(Pattern::from_json(node.get("pattern"))) {
    node.expect_keys({"type", "pattern", "content"});
    content_ = node.get("content").as_string();
  }
  void decode(std::vector<DecodedToken>& tokens) const override {
    for (DecodedToken& token : tokens) token.text = token_bytes(token);
  }
  std::string token_bytes(const DecodedToken& token) const override {
    MatchBudget budget(token.text.size());
    return pattern_.replace_all(token.text, content_, budget);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class ByteFallbackDecoder final : public Decoder {
 public:
  explicit ByteFallbackDecoder(const JsonNode& node) { node.expect_keys({"type"}); }
  // A run of byte tokens is one character sequence; if it is ill-formed, each byte gives U+FFFD.
  void decode(std::vector<DecodedToken>& tokens) const override {
    std::vector<DecodedToken> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (utf8_valid_prefix(run) == run.size()) {
        out.push_back({run, false});
      } else {
        for (std::size_t i = 0; i < run.size(); ++i) out.push_back({"\xEF\xBF\xBD", false});
      }
      run.clear();
    };
    for (DecodedToken& token : tokens) {
      if (const int byte = byte_of(token.text); byte >= 0) {
        run.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
  std::string token_bytes(const DecodedToken& token) const override {
    const int byte = byte_of(token.text);
    return byte < 0 ? token.text : std::string(1, static_cast<char>(byte));
  }
};

class FuseDecoder final : public Decoder {
 public:
  explicit FuseDecoder(const JsonNode& node) { node.expect_keys({"type"}); }
  void decode(std::vector<DecodedToken>& tokens) const override {
    std::string joined;
    for (const DecodedToken& token : tokens) joined += token.text;
    tokens = {{std::move(joined), false}};
  }
  std::string token_bytes(const DecodedToken& token) const override { return token.text; }
};

class StripDecoder final : public Decoder {
 public:
  explicit StripDecoder(const JsonNode& node) {
    node.expect_keys({"type", "content", "start", "stop"});
    content_ = node.get("content").as_string();
    if (content_.empty() || utf8_decode(content_, 0).bytes != content_.size()) {
      node.get("content").fail("expected one character");
    }
    start_ = node.get("start").as_integer(0, kStripMax);
    stop_ = node.get("stop").as_integer(0, kStripMax);
  }
  void decode(std::vector<DecodedToken>& tokens) const override {
    for (DecodedToken& token : tokens) {
      std::string_view text = token.text;
      for (std::int64_t i = 0; i < start_ && text.starts_with(content_); ++i)
        text.remove_prefix(content_.size());
      for (std::int64_t i = 0; i < stop_ && text.ends_with(content_); ++i)
        text.remove_suffix(content_.size());
      token.text = std::string(text);
    }
  }
  // Of the text's ends, not of a token's.
  std::string token_bytes(const DecodedToken& token) const override { return token.text; }

 private:
  std::string content_;
  std::int64_t start_;
  std::int64_t stop_;
};

class SequenceDecoder final : public Decoder {
 public:
  explicit SequenceDecoder(const JsonNode& node) {
    node.expect_keys({"type", "decoders"});
    const JsonNode list = node.get("decoders");
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (auto part = read_decoder(list.at(i))) parts_.push_back(std::move(part));
    }
  }
  void decode(std::vector<DecodedToken>& tokens) const override {
    for (const auto& part : parts_) part->decode(tokens);
  }
  std::string token_bytes(const DecodedToken& token) const override {
    DecodedToken result = token;
    for (const auto& part : parts_) result.text = part->token_bytes(result);
    return result.text;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace

std::unique_ptr<Decoder> read_decoder(const JsonNode& node) {
  if (node.is_null()) return nullptr;
  const JsonNode type = node.get("type");
  const std::string& name = type.as_string();
  if (name == "ByteLevel") return std::make_unique<ByteLevelDecoder>(node);
  if (name == "Metaspace") return std::make_unique<MetaspaceDecoder>(node);
  if (name == "Sequence") return std::make_unique<SequenceDecoder>(node);
  if (name == "Replace") return std::make_unique<ReplaceDecoder>(node);
  if (name == "ByteFallback") return std::make_unique<ByteFallbackDecoder>(node);
  if (name == "Fuse") return std::make_unique<FuseDecoder>(node);
  if (name == "Strip") return std::make_unique<StripDecoder>(node);
  type.fail(
      "the decoder \"" + name +
      "\" is not known; known are ByteLevel, Metaspace, Sequence, Replace, ByteFallback, Fuse and Strip");
}

}  // namespace quench::worker
