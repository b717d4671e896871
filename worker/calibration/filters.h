// Which documents are worth calibrating on: the usual filters of code corpora (The Stack, StarCoder), and
// what the study asks of questions. Pure functions on text; any thread.
#pragma once

#include <optional>
#include <string_view>

#include "worker/calibration/document.h"

namespace quench::worker {

inline constexpr std::size_t kCodeBytesMax = 1 << 20;
inline constexpr std::size_t kProseBytesMax = 16 << 20;

// Of any form: no bytes that text does not have, UTF-8, not empty.
std::optional<Reason> fault_of_text(std::string_view text);
// Of source code, beyond that: lines of at most 1,000 bytes and 100 on average, a quarter letters and digits,
// no word in its first lines that a program wrote it.
std::optional<Reason> fault_of_code(std::string_view text);
// Of prose: half of it letters, digits or spaces.
std::optional<Reason> fault_of_prose(std::string_view text);
// fault_of_text and the one of the document's form.
std::optional<Reason> fault_of(const Document& document);

// Whether prose is English, by the share of its commonest words.
bool looks_english(std::string_view prose);

}  // namespace quench::worker
