#include "worker/calibration/licences.h"

#include <algorithm>
#include <cctype>

namespace quench::worker {
namespace {

constexpr std::size_t kTitleBytes = 400;
constexpr std::size_t kTextBytes = 16 << 10;
constexpr std::size_t kSourceHeadBytes = 4 << 10;
constexpr std::size_t kIdentifierBytesMax = 100;

// In lower case, every run of other characters than letters, digits and dots one space: lines may be broken
// anywhere.
std::string flattened(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '.') {
      out += static_cast<char>(std::tolower(byte));
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  return out;
}

}  // namespace

bool is_licence_file(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.starts_with("license") || lower.starts_with("licence") || lower.starts_with("copying") ||
         lower.starts_with("unlicense");
}

std::string licence_of_text(std::string_view text) {
  const std::string all = flattened(text.substr(0, kTextBytes));
  // Licences name each other in their texts; their own name stands at the top.
  const std::string title = all.substr(0, kTitleBytes);
  const auto titled = [&](const char* words) { return title.find(words) != std::string::npos; };
  const auto says = [&](const char* words) { return all.find(words) != std::string::npos; };
  const std::size_t gpl = title.find("gnu general public license"),
                    lgpl = title.find("gnu lesser general public license"),
                    agpl = title.find("gnu affero general public license");
  if (const std::size_t first = std::min({gpl, lgpl, agpl}); first != std::string::npos) {
    const bool is_third = titled("version 3");
    if (first == agpl) return "AGPL-3.0";
    return first == lgpl ? (is_third ? "LGPL-3.0" : "LGPL-2.1") : (is_third ? "GPL-3.0" : "GPL-2.0");
  }
  if (titled("apache license") && says("version 2.0")) return "Apache-2.0";
  if (titled("mozilla public license") && says("2.0")) return "MPL-2.0";
  if (titled("eclipse public license")) return titled("2.0") ? "EPL-2.0" : "EPL-1.0";
  if (titled("boost software license")) return "BSL-1.0";
  if (titled("creative commons") && says("cc0 1.0")) return "CC0-1.0";
  if (says("this is free and unencumbered software")) return "Unlicense";
  if (says("python software foundation license")) return "PSF-2.0";
  if (says("redistribution and use in source and binary forms"))
    return says("advertising materials")                       ? "BSD-4-Clause"
           : says("neither the name") || says("nor the names") ? "BSD-3-Clause"
                                                               : "BSD-2-Clause";
  if (says("permission is hereby granted free of charge")) return "MIT";
  if (says("permission to use copy modify and or distribute this software for any purpose")) return "ISC";
  if (says("licensed under the apache license version 2.0")) return "Apache-2.0";
  return {};
}

std::string licence_of_source(std::string_view text) {
  static constexpr std::string_view kMark = "SPDX-License-Identifier:";
  const std::string_view head = text.substr(0, kSourceHeadBytes);
  const std::size_t at = head.find(kMark);
  if (at == std::string_view::npos) return {};
  std::string_view rest = head.substr(at + kMark.size());
  rest = rest.substr(0, std::min(rest.find('\n'), kIdentifierBytesMax));
  std::string out;
  for (const char c : rest) {
    const bool is_part = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' ||
                         c == '+' || c == '(' || c == ')' || c == ' ';
    if (!is_part) break;
    out += c;
  }
  const std::size_t first = out.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return out.substr(first, out.find_last_not_of(" -") - first + 1);
}

}  // namespace quench::worker
