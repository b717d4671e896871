// Every parser of bytes that somebody else wrote, as a function that takes an input or refuses it with an Error.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::fuzz {

struct Target {
  const char* name;
  ErrorCode refusal;  // the code with which it refuses
  std::size_t grain;  // of mutations: 8 where lengths count words
  Bytes (*valid)(std::uint64_t seed);
  // Throws Error for what it refuses; std::logic_error when it took what it should not have.
  void (*take)(const Bytes& input);
  std::span<const std::string_view> words;  // of the format
};

const std::vector<Target>& targets();
// What a test of them is called by.
inline void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

// Frames of the control plane, over a local socket as from a stranger (frame_target.cc).
Bytes valid_frames(std::uint64_t seed);
void take_frames(const Bytes& input);
// A request as coordinator/http/server.cc reads it: Beast's parser under its limits, target, route, body (http_target.cc).
Bytes valid_request(std::uint64_t seed);
void take_request(const Bytes& input);

}  // namespace quench::fuzz
