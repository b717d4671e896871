#include "tests/fuzz/targets.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "schemas/machine_profile.h"
#include "schemas/model_config.h"
#include "schemas/safetensors.h"
#include "tests/schemas/random_values.h"
#include "worker/endpoint/completions_api.h"
#include "worker/tokenize/byte_bpe.h"

namespace quench::fuzz {
namespace {

std::string_view as_text(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
Bytes as_bytes(std::string_view text) { return Bytes(text.begin(), text.end()); }

Bytes file_bytes(const std::string& name) {
  std::ifstream in(std::string(QUENCH_SOURCE_DIR) + "/tests/" + name, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (text.str().empty()) throw std::runtime_error("there is no " + name);
  return as_bytes(text.str());
}

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

// What was taken and written again reads as the same bytes.
template <typename Value, Value (*decode)(std::span<const std::uint8_t>)>
void take_encoded(const Bytes& input) {
  const Bytes once = encode(decode(input));
  require(encode(decode(once)) == once, "what was decoded does not survive being encoded and decoded");
}

template <typename Variant>
Bytes encoded_alternative(std::uint64_t seed) {
  RandomFiller random(seed);
  return encode(random.make_alternative<Variant>(random.below(std::variant_size_v<Variant>)));
}

template <typename Value>
Bytes encoded_value(std::uint64_t seed) {
  RandomFiller random(seed);
  return encode(random.make<Value>());
}

Bytes valid_manifest(std::uint64_t seed) {
  RandomFiller random(seed);
  auto manifest = random.make<Manifest>();
  manifest.format_version = 1;
  return encode(manifest);
}
void take_manifest(const Bytes& input) {
  require(encode(decode_manifest(input)) == input, "a manifest was taken that is not canonical");
}

Bytes valid_job(std::uint64_t) {
  static const Bytes job = file_bytes("fixtures/jobs/full.json");
  return job;
}
void take_job(const Bytes& input) {
  const JobSpec parsed = parse_job(as_text(input), "job.json", "/base");
  require(parse_job(job_to_json(parsed), "again.json", "/") == parsed, "a job reads differently once written");
}

Bytes valid_config(std::uint64_t) {
  static const Bytes config = file_bytes("fixtures/odd_llama/config.json");
  return config;
}
void take_config(const Bytes& input) { parse_model_config(as_text(input), "config.json"); }

Bytes valid_safetensors(std::uint64_t) {
  static const Bytes file = file_bytes("schemas/fixtures/python_written.safetensors");
  return file;
}
void take_safetensors(const Bytes& input) {
  for (const auto& [name, entry] : parse_safetensors_header(input, input.size(), "w.safetensors").tensors)
    require(entry.file_offset <= input.size() && entry.bytes <= input.size() - entry.file_offset, "a tensor outside its file");
}

// Every part that a tokenizer.json can have, small.
constexpr std::string_view kTokenizers[] = {
    R"({"version": "1.0", "truncation": null, "padding": null,
 "added_tokens": [{"id": 10, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true}],
 "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
           "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
           "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "▁": 5, "Ġ": 6, "ab": 7, "abc": 8, "bc": 9},
           "merges": ["a b", "b c", "ab c"]}})",
    R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
 "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
   {"type": "Split", "pattern": {"Regex": "\\s+|\\p{L}{1,3}|[^a]"}, "behavior": "Isolated", "invert": false},
   {"type": "Digits", "individual_digits": true}]},
 "post_processor": null, "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
 "model": {"type": "BPE", "dropout": null, "unk_token": "a", "continuing_subword_prefix": null,
           "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false,
           "vocab": {"a": 0, "b": 1, "▁": 2, "ab": 3}, "merges": [["a", "b"]]}})"};

Bytes valid_tokenizer(std::uint64_t seed) { return as_bytes(kTokenizers[seed % std::size(kTokenizers)]); }
void take_tokenizer(const Bytes& input) {
  const auto tokenizer = worker::ByteBpe::from_text(as_text(input), "tokenizer.json", {});
  const auto ids = tokenizer->encode("abc <s> a1 \xe2\x96\x81 b", worker::AddSpecialTokens::yes);
  tokenizer->decode(ids, worker::SkipSpecialTokens::no);
}

constexpr std::string_view kAnswer =
    R"({"id": "x", "choices": [{"index": 0, "text": "return a\n", "message": {"role": "assistant", "content": "a"},
 "finish_reason": "stop", "logprobs": null}], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})";
Bytes valid_answer(std::uint64_t) { return as_bytes(kAnswer); }
void take_answer(const Bytes& input) {
  worker::parse_answer(worker::EndpointApi::chat, as_text(input));
  worker::parse_answer(worker::EndpointApi::completions, as_text(input));
}

constexpr std::string_view kJsonWords[] = {"{", "}", "[", "]", ":", ",", "\"", "null", "true", "-1", "1e999", "18446744073709551616",
                                           "0.5", "\\u0000", "\\ud800", "{\"a\":", "[[[[[[[[", "\xff", "\"type\":", "\"String\""};
constexpr std::string_view kHttpWords[] = {"\r\n", "\r\n\r\n", "\n", ": ", "HTTP/1.1", "Content-Length: ", "Transfer-Encoding: chunked",
                                           "%00", "%2e%2e", "/../", "//", "?", "&", "#", "0\r\n", "ffffffffffffffff\r\n", "\t",
                                           "Upgrade: h2c", "Expect: 100-continue", "CONNECT "};

}  // namespace

const std::vector<Target>& targets() {
  constexpr auto kCorrupt = ErrorCode::corrupt;
  constexpr auto kBadInput = ErrorCode::bad_input;
  static const std::vector<Target> all = {
      {"Frame", kCorrupt, 1, valid_frames, take_frames, {}},
      {"Message", kCorrupt, 8, encoded_alternative<Message>, take_encoded<Message, decode_message>, {}},
      {"JournalEvent", kCorrupt, 8, encoded_alternative<JournalEvent>, take_encoded<JournalEvent, decode_journal_event>, {}},
      {"Manifest", kCorrupt, 8, valid_manifest, take_manifest, {}},
      {"Verdict", kCorrupt, 8, encoded_value<Verdict>, take_encoded<Verdict, decode_verdict>, {}},
      {"Http", kBadInput, 1, valid_request, take_request, kHttpWords},
      {"JobFile", kBadInput, 1, valid_job, take_job, kJsonWords},
      {"ModelConfig", kBadInput, 1, valid_config, take_config, kJsonWords},
      {"Safetensors", kBadInput, 1, valid_safetensors, take_safetensors, kJsonWords},
      {"Tokenizer", kBadInput, 1, valid_tokenizer, take_tokenizer, kJsonWords},
      {"EndpointAnswer", kCorrupt, 1, valid_answer, take_answer, kJsonWords},
  };
  return all;
}

}  // namespace quench::fuzz
