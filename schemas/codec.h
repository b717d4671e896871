// All Cap'n Proto of Quench: value types to bytes and back, and job files. The only header through
// which the rest of the program sees the schemas (*.capnp). Decoding treats its input as hostile:
// traversal and nesting limits stay on, every enum and size is checked, and what does not fit throws
// Error(corrupt) for stored or received bytes and Error(bad_input) for a user's file. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/job_spec.h"
#include "schemas/journal.h"
#include "schemas/messages.h"

namespace quench {

using Bytes = std::vector<std::uint8_t>;

// A control message. The largest is the manifest of a 34B model: 48 blocks × 7 linears × 172 tiles of
// 48 bytes each, under 3 MB.
inline constexpr std::size_t kMessageBytesMax = 8 << 20;
inline constexpr std::size_t kManifestBytesMax = 256 << 20;  // a stored object

// Job files. Collects every mistake, each with its JSON pointer, into one Error(bad_input):
// duplicate keys, unknown keys, wrong types, values out of range. Relative paths in the job are
// taken from `base_dir`. `origin` names the file in the error.
JobSpec parse_job(std::string_view json, const std::string& origin, const std::filesystem::path& base_dir);
JobSpec read_job(const std::filesystem::path& file);
std::string job_to_json(const JobSpec& job);

// What names a job: the digest of everything but its ranks and threads, and the source's digest.
// Running the same job again on another number of ranks continues it.
Digest job_id(const JobSpec& job, const Digest& source);

Bytes encode(const Message& message);
Message decode_message(std::span<const std::uint8_t> bytes);

// Canonical: equal values give equal bytes, and these bytes' SHA-256 is the artifact's digest.
Bytes encode(const Manifest& manifest);
Manifest decode_manifest(std::span<const std::uint8_t> bytes);
Digest manifest_digest(const Manifest& manifest);
// For people and scripts: `artifacts show --json`.
std::string manifest_to_json(const Manifest& manifest);

Bytes encode(const RunRecord& record);
RunRecord decode_run_record(std::span<const std::uint8_t> bytes);
Bytes encode(const PhaseUsage& usage);
PhaseUsage decode_phase_usage(std::span<const std::uint8_t> bytes);
Bytes encode(const Verdict& verdict);
Verdict decode_verdict(std::span<const std::uint8_t> bytes);
Bytes encode(const JournalEvent& event);
JournalEvent decode_journal_event(std::span<const std::uint8_t> bytes);

}  // namespace quench
