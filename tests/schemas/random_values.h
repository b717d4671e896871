// Archives over the field lists of schemas/value_fields.h: one fills a value at random, one counts fields.
#pragma once

#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "schemas/value_fields.h"

namespace quench {

// The number of enumerants; the random filler covers them all.
template <typename E>
inline constexpr unsigned kEnumerants = 0;
template <>
inline constexpr unsigned kEnumerants<Method> = 6;
template <>
inline constexpr unsigned kEnumerants<ScaleRule> = 2;
template <>
inline constexpr unsigned kEnumerants<CalibrationKind> = 4;
template <>
inline constexpr unsigned kEnumerants<FineTuning> = 3;
template <>
inline constexpr unsigned kEnumerants<Activations> = 3;
template <>
inline constexpr unsigned kEnumerants<Arithmetic> = 2;
template <>
inline constexpr unsigned kEnumerants<PromptStyle> = 4;
template <>
inline constexpr unsigned kEnumerants<CompletionCut> = 2;
template <>
inline constexpr unsigned kEnumerants<TokenBudget> = 2;
template <>
inline constexpr unsigned kEnumerants<ChatTemplate> = 5;
template <>
inline constexpr unsigned kEnumerants<SandboxKind> = 2;
template <>
inline constexpr unsigned kEnumerants<TensorLayout> = 3;
template <>
inline constexpr unsigned kEnumerants<DType> = 10;
template <>
inline constexpr unsigned kEnumerants<VerdictResult> = 7;
template <>
inline constexpr unsigned kEnumerants<Confinement> = 2;
template <>
inline constexpr unsigned kEnumerants<PeerRole> = 3;
template <>
inline constexpr unsigned kEnumerants<ErrorCode> = 8;
template <>
inline constexpr unsigned kEnumerants<JobState> = 6;

class RandomFiller {
 public:
  explicit RandomFiller(std::uint64_t seed) : random_(seed) {}

  template <typename T>
  void operator()(const char*, T& value) {
    fill(value);
  }

  template <typename T>
  T make() {
    T value;
    fields(*this, value);
    return value;
  }

  // One of a variant's alternatives, chosen by number.
  template <typename Variant, std::size_t index = 0>
  Variant make_alternative(std::size_t chosen) {
    if (chosen == index) return make<std::variant_alternative_t<index, Variant>>();
    if constexpr (index + 1 < std::variant_size_v<Variant>)
      return make_alternative<Variant, index + 1>(chosen);
    return Variant{};
  }

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

 private:
  template <typename T>
  void fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = below(2) != 0;
    } else if constexpr (std::is_floating_point_v<T>) {
      value = below(4) == 0 ? 0 : (static_cast<T>(below(2'000'001)) - 1e6) / 1024;
    } else if constexpr (std::is_integral_v<T>) {
      const std::uint64_t kind = below(4);
      value = kind == 0   ? std::numeric_limits<T>::min()
              : kind == 1 ? std::numeric_limits<T>::max()
                          : static_cast<T>(random_());
    } else if constexpr (std::is_enum_v<T>) {
      static_assert(kEnumerants<T> > 0);
      value = static_cast<T>(below(kEnumerants<T>));
    } else if constexpr (std::is_same_v<T, LeaseId>) {
      value.value = random_();
    } else if constexpr (std::is_same_v<T, std::string>) {
      value.resize(below(20));  // any bytes: zeros and what is not UTF-8 as well
      for (char& c : value) c = static_cast<char>(random_());
    } else if constexpr (std::is_same_v<T, Digest>) {
      if (below(4) != 0)
        for (auto& byte : value.bytes) byte = static_cast<std::uint8_t>(random_());
    } else if constexpr (requires { value.emplace_back(); }) {
      value.resize(below(4));
      for (auto& item : value) fill(item);
    } else if constexpr (requires { value.has_value(); }) {
      value.reset();
      if (below(2) != 0) fill(value.emplace());
    } else {
      fields(*this, value);
      if constexpr (std::is_same_v<T, ChunkRef>) value.bytes %= kChunkBytesMax + 1;
    }
  }

  std::mt19937_64 random_;
};

struct FieldCounter {
  std::size_t count = 0;
  template <typename T>
  void operator()(const char*, const T&) {
    ++count;
  }
};

// The number of members of an aggregate: how many initializers it takes.
struct AnyMember {
  template <typename T>
  operator T() const;
};
template <typename T, typename... Members>
constexpr std::size_t member_count() {
  if constexpr (requires { T{Members{}..., AnyMember{}}; }) {
    return member_count<T, Members..., AnyMember>();
  } else {
    return sizeof...(Members);
  }
}

}  // namespace quench
