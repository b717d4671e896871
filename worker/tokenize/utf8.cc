#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

// Table 3-7 of the Unicode standard: how many bytes a lead byte announces, and the range of its second.
struct LeadRule {
  std::size_t length;
  unsigned char second_min;
  unsigned char second_max;
};

LeadRule rule_of(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead >= 0xC2 && lead <= 0xDF) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes at `at` begin a well-formed character; equal to rule.length when it is whole.
std::size_t matching_bytes(std::string_view text, std::size_t at, const LeadRule& rule) {
  std::size_t matched = 1;
  while (matched < rule.length && at + matched < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at + matched]);
    const unsigned char low = matched == 1 ? rule.second_min : 0x80;
    const unsigned char high = matched == 1 ? rule.second_max : 0xBF;
    if (byte < low || byte > high) break;
    ++matched;
  }
  return matched;
}

}  // namespace

std::size_t utf8_length_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  const LeadRule rule = rule_of(static_cast<unsigned char>(text[at]));
  if (rule.length <= 1) return rule.length;
  return matching_bytes(text, at, rule) == rule.length ? rule.length : 0;
}

std::size_t utf8_valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8_length_at(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

std::string utf8_lossy(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t valid = utf8_valid_prefix(bytes.substr(at));
    out.append(bytes.substr(at, valid));
    at += valid;
    if (at == bytes.size()) break;
    const LeadRule rule = rule_of(static_cast<unsigned char>(bytes[at]));
    at += rule.length == 0 ? 1 : matching_bytes(bytes, at, rule);
    out.append("\xEF\xBF\xBD");
  }
  return out;
}

}  // namespace quench::worker
