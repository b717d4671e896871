#include "schemas/machine_profile.h"

#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "schemas/json_document.h"
#include "schemas/small_file.h"

namespace quench {
namespace {

constexpr std::size_t kBytesMax = 1 << 20;
constexpr std::size_t kValuesMax = 10'000;
constexpr std::string_view kFormat = "quench machine profile 1";

// The keys, once for writing and reading.
template <typename Archive, typename Rates>
void arithmetic_fields(Archive& archive, Rates& rates) {
  archive.curve("forward_flops_per_s", rates.forward_flops);
  archive.curve("hessian_flops_per_s", rates.hessian_flops);
  archive.curve("hessian_sums_per_s", rates.hessian_sums);
  archive.curve("solve_flops_per_s", rates.solve_flops);
  archive.decode("decode", rates.decode);
}

template <typename Archive, typename Profile>
void profile_fields(Archive& archive, Profile& profile) {
  archive.text("host", profile.host);
  archive.text("cpu", profile.cpu);
  archive.text("date", profile.date);
  archive.text("build", profile.build);
  archive.text("backend", profile.backend);
  archive.text("origin", profile.origin);
  archive.flag("is_measured", profile.is_measured);
  archive.count("ranks", profile.ranks);
  archive.count("threads", profile.threads);
  arithmetic_fields(archive, profile.fp32);
  archive.arithmetic("bf16", profile.bf16);
  archive.curve("factor_flops_per_s", profile.factor_flops);
  archive.number("round_weights_per_s", profile.round_weights_per_s);
  archive.number("read_bytes_per_s", profile.read_bytes_per_s);
  archive.number("make_bytes_per_s", profile.make_bytes_per_s);
  archive.number("layout_bytes_per_s", profile.layout_bytes_per_s);
  archive.number("scratch_bytes_per_s", profile.scratch_bytes_per_s);
  archive.optional("programs_per_s", profile.programs_per_s);
  archive.optional("message_s", profile.message_s);
  archive.optional("link_bytes_per_s", profile.link_bytes_per_s);
  archive.optional("between_hosts_message_s", profile.between_hosts_message_s);
  archive.optional("between_hosts_bytes_per_s", profile.between_hosts_bytes_per_s);
  archive.optional("start_s", profile.start_s);
  archive.optional("store_bytes_per_s", profile.store_bytes_per_s);
  archive.optional("commit_s", profile.commit_s);
  archive.optional("watts", profile.watts);
  archive.text("watts_note", profile.watts_note);
  archive.optional("memory_bytes", profile.memory_bytes);
}

struct Writer {
  nlohmann::ordered_json out;
  void text(const char* key, const std::string& value) { out[key] = value; }
  void flag(const char* key, bool value) { out[key] = value; }
  void count(const char* key, std::uint32_t value) { out[key] = value; }
  void number(const char* key, double value) { out[key] = value; }
  void optional(const char* key, const std::optional<double>& value) {
    out[key] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  }
  void curve(const char* key, const RateCurve& curve) { out[key] = curve.points; }
  void arithmetic(const char* key, const std::optional<ArithmeticRates>& rates) {
    out[key] = nullptr;
    if (!rates) return;
    Writer writer;
    arithmetic_fields(writer, *rates);
    out[key] = std::move(writer.out);
  }
  void decode(const char* key, const std::vector<DecodeRate>& rates) {
    out[key] = nlohmann::ordered_json::array();
    for (const DecodeRate& rate : rates)
      out[key].push_back({{"bits", rate.bits}, {"base_s", rate.base_s.points}, {"row_s", rate.row_s.points}});
  }
};

class Reader {
 public:
  explicit Reader(const JsonValue& object) : object_(object) {}

  void text(const char* key, std::string& value) {
    const auto* found = required(key).as<std::string>();
    if (found == nullptr) wrong(key, required(key), "a string");
    value = *found;
  }
  void flag(const char* key, bool& value) {
    const auto* found = required(key).as<bool>();
    if (found == nullptr) wrong(key, required(key), "true or false");
    value = *found;
  }
  void count(const char* key, std::uint32_t& value) {
    const auto* found = required(key).as<std::uint64_t>();
    if (found == nullptr || *found < 1 || *found > 1'000'000) wrong(key, required(key), "a whole number from 1 to 1000000");
    value = static_cast<std::uint32_t>(*found);
  }
  void number(const char* key, double& value) { value = positive(key, required(key)); }
  void optional(const char* key, std::optional<double>& value) {
    const JsonValue& found = required(key);
    if (found.as<std::nullptr_t>() == nullptr) value = positive(key, found);
  }
  void curve(const char* key, RateCurve& curve) { curve = curve_of(key, required(key)); }
  // May be missing: files that were saved before there were such rates serve on.
  void arithmetic(const char* key, std::optional<ArithmeticRates>& rates) {
    const JsonValue* found = object_.find(key);
    if (found == nullptr || found->as<std::nullptr_t>() != nullptr) return;
    in_context(std::string("\"") + key + "\"", [&] {
      Reader reader(*found);
      arithmetic_fields(reader, rates.emplace());
    });
  }
  void decode(const char* key, std::vector<DecodeRate>& rates) {
    const auto* list = required(key).as<JsonValue::List>();
    if (list == nullptr) wrong(key, required(key), "a list");
    for (const JsonValue& entry : *list) {
      Reader reader(entry);
      DecodeRate& rate = rates.emplace_back();
      reader.count("bits", rate.bits);
      reader.curve("base_s", rate.base_s);
      reader.curve("row_s", rate.row_s);
    }
  }

 private:
  [[noreturn]] static void wrong(const std::string& key, const JsonValue& value, const std::string& expected) {
    throw Error(ErrorCode::bad_input, "\"" + key + "\" (" + to_string(value.place) + "): found " + value.found() +
                                          "; expected " + expected);
  }
  const JsonValue& required(const char* key) const {
    const JsonValue* value = object_.find(key);
    if (value == nullptr)
      throw Error(ErrorCode::bad_input,
                  std::string("\"") + key + "\" is missing; `quench bench profile --out FILE` writes such a file");
    return *value;
  }
  static double positive(const std::string& key, const JsonValue& value) {
    double number = 0;
    if (const auto* real = value.as<double>()) number = *real;
    if (const auto* whole = value.as<std::uint64_t>()) number = static_cast<double>(*whole);
    if (!(number > 0) || !std::isfinite(number)) wrong(key, value, "a number above 0");
    return number;
  }
  static RateCurve curve_of(const std::string& key, const JsonValue& value) {
    const auto* list = value.as<JsonValue::List>();
    if (list == nullptr || list->empty()) wrong(key, value, "a list of pairs [size, value] with at least one");
    RateCurve curve;
    for (const JsonValue& entry : *list) {
      const auto* pair = entry.as<JsonValue::List>();
      if (pair == nullptr || pair->size() != 2) wrong(key, entry, "a pair [size, value]");
      const double size = positive(key, pair->at(0));
      if (!curve.points.empty() && size <= curve.points.back().first) wrong(key, pair->at(0), "sizes that rise");
      curve.points.emplace_back(size, positive(key, pair->at(1)));
    }
    return curve;
  }

  const JsonValue& object_;
};

}  // namespace

double RateCurve::at(double size) const {
  QUENCH_CHECK(!points.empty());
  if (size <= points.front().first) return points.front().second;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const auto& [left, low] = points[i - 1];
    const auto& [right, high] = points[i];
    if (size > right) continue;
    const double share = std::log(size / left) / std::log(right / left);
    return low * std::pow(high / low, share);
  }
  return points.back().second;
}

std::string profile_to_json(const MachineProfile& profile) {
  Writer writer;
  writer.out["format"] = kFormat;
  profile_fields(writer, profile);
  return writer.out.dump(2);
}

MachineProfile parse_profile(std::string_view json, const std::string& origin) {
  return in_context(origin, [&] {
    const JsonValue root = parse_strict_json(json, kValuesMax);
    const JsonValue* format = root.find("format");
    const auto* text = format == nullptr ? nullptr : format->as<std::string>();
    if (text == nullptr || *text != kFormat)
      throw Error(ErrorCode::bad_input, "no machine profile: expected \"format\": \"" + std::string(kFormat) + "\", found " +
                                            (format == nullptr ? "no such key" : format->found()));
    MachineProfile profile;
    Reader reader(root);
    profile_fields(reader, profile);
    return profile;
  });
}

MachineProfile read_profile(const std::filesystem::path& file) {
  return parse_profile(read_small_file(file, kBytesMax), file.string());
}

}  // namespace quench
