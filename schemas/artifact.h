// What the store keeps: manifests (what the inputs determine, and nothing else), run records (time,
// ranks, hosts, build) and verdicts. Digests cover the canonical encoding (codec.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "schemas/safetensors.h"

namespace quench {

inline constexpr std::uint64_t kChunkBytesMax = 16ull << 20;

struct ChunkRef {
  Digest digest;
  std::uint64_t bytes = 0;
  bool operator==(const ChunkRef&) const = default;
};

enum class TensorLayout : std::uint16_t {
  raw,     // row-major bytes of `dtype`, cut every kRawChunkBytes
  packed,  // a quantized linear: one chunk per row tile (packed_layout.h)
  additive,  // sums of codebook entries (aqlm): the chunk of the codebooks, then one per row tile (packed_layout.h)
};

inline constexpr std::uint64_t kRawChunkBytes = 4ull << 20;

struct TensorRecord {
  std::string name;  // of the source model's tensor
  TensorLayout layout = TensorLayout::raw;
  DType dtype = DType::f32;          // raw: as stored in the source
  std::vector<std::uint64_t> shape;  // of the source tensor
  std::uint32_t bits = 0;            // packed: of a code; additive: of a code of one codebook
  std::int32_t group_size = -1;      // packed: inputs of a grid; additive: inputs of a code
  std::uint32_t rows_per_tile = 0;   // packed and additive
  std::vector<ChunkRef> chunks;
  // Packed with act-order: one chunk of int32 little-endian [K]; column k of the codes is column
  // permutation[k] of the source. Empty digest: identity.
  ChunkRef permutation;
  std::uint32_t codebooks = 0;  // additive only
  // Packed at 8 bits with a scale a row: how the linear takes its inputs. `fixed` has a scale for all of them, an fp32.
  Activations activations = Activations::none;
  double activation_scale = 0;
  bool operator==(const TensorRecord&) const = default;
};

// What a linear has under a recipe with a budget.
struct BitChoice {
  std::string tensor;
  std::uint32_t bits = 0;
  std::int32_t group_size = -1;
  bool operator==(const BitChoice&) const = default;
};

// A small file carried along: config.json, tokenizer.json, tokenizer.model, …
struct FileRecord {
  std::string name;
  ChunkRef chunk;
  bool operator==(const FileRecord&) const = default;
};

// tr(ΔHΔᵀ) of one linear, alone and over tr(WHWᵀ); H = XᵀX/T undamped on this job's calibration.
// For methods without calibration H is the identity.
struct LinearLoss {
  std::string tensor;
  double loss = 0;
  double relative_loss = 0;
  bool operator==(const LinearLoss&) const = default;
};

// Documents that a calibration set does not have, and why: "near duplicate", "holds a benchmark's text".
struct LeftOut {
  std::string reason;
  std::uint64_t documents = 0;
  bool operator==(const LeftOut&) const = default;
};

// What a calibration set is. Its manifest has two raw tensors: "tokens", i32 [sequences, length], and "documents", u8 [n],
// JSON lines of where each part of a sequence comes from and under which licence.
struct CalibrationRecord {
  CalibrationKind kind = CalibrationKind::files;
  std::uint32_t sequences = 0;
  std::uint32_t length = 0;
  std::uint64_t seed = 0;
  Digest tokenizer;  // SHA-256 of the tokenizer's file
  Digest windows;    // what an artifact that used all of it has as `calibration`
  std::uint32_t files_per_repository = 0;  // of code
  std::int32_t score_min = 0;              // of questions
  Digest benchmarks;  // of the problem files whose text was looked for
  std::uint64_t documents_read = 0;
  std::uint64_t documents_used = 0;
  std::vector<LeftOut> left_out;
  bool operator==(const CalibrationRecord&) const = default;
};
inline constexpr std::string_view kSetTokens = "tokens";
inline constexpr std::string_view kSetDocuments = "documents";

struct Manifest {
  std::uint32_t format_version = 1;
  Digest source;        // of the model directory: model_source_digest()
  Digest calibration;   // of the token windows; none when the method needs none
  QuantizeSpec recipe;  // its name is left empty: a name is a ref, not content
  std::vector<FileRecord> files;
  std::vector<TensorRecord> tensors;  // outer tensors, then block by block
  std::vector<LinearLoss> losses;
  // Set for a model that is served elsewhere (method none). Such a manifest has no files and tensors, and names a
  // place rather than content: `source` is endpoint_source_digest().
  std::string endpoint_url;
  std::string endpoint_model;
  Digest calibration_set;  // the manifest of the set whose windows `calibration` hashes; none: of plain text, or none at all
  std::optional<CalibrationRecord> set;  // the manifest is a calibration set's, and not a model's
  bool operator==(const Manifest&) const = default;
};

// Throws Error(bad_input) when `manifest` is a calibration set's; `ref` is what it was asked for by.
void require_model(const Manifest& manifest, std::string_view ref);
// Throws Error(bad_input) when it is not a calibration set's, Error(corrupt) when its tensors do not fit its record.
const CalibrationRecord& require_set(const Manifest& manifest, std::string_view ref);
// The tensor of that name; throws Error(corrupt) when there is none.
const TensorRecord& tensor_named(const Manifest& manifest, std::string_view name);
// Every chunk the manifest refers to, in its order.
std::vector<ChunkRef> chunks_of(const Manifest& manifest);

// Every byte the artifact's chunks take, each chunk counted once.
std::uint64_t artifact_bytes(const Manifest& manifest);
// Bits per weight of the linears of the blocks: codes, scales, zeros, permutations and codebooks counted.
double bits_per_weight(const Manifest& manifest);
// The bits that a table calls it by: the recipe's, or for the baseline those of the linears' own type.
std::uint32_t nominal_bits(const Manifest& manifest);
// Throws Error(corrupt) unless the record is consistent: a sane shape, known bits and group size, as many
// chunks of the sizes that the shape takes. Call it before trusting sizes of a record from outside.
void check_tensor_record(const TensorRecord& tensor);

// How an artifact was made; never part of its digest.
struct RunRecord {
  Digest artifact;
  std::string job_name;
  double quantize_seconds = 0;
  std::uint32_t ranks = 0;
  std::uint32_t threads = 0;
  std::string build;
  std::string isa;  // "avx512"
  std::vector<std::string> hosts;
  std::int64_t finished_unix_ms = 0;
  std::uint32_t attempts = 0;
  std::uint32_t replayed_blocks = 0;  // recomputed on resuming, not lost work
  bool operator==(const RunRecord&) const = default;
};

// What one energy counter of one host counted during a phase. Counters belong to a host, not to a rank:
// ranks of one host report the same ones.
struct EnergyReading {
  std::string counter;  // "rapl package-0", "nvml GPU-5d…"
  double joules = 0;
  double seconds = 0;      // between its first and last reading
  double idle_watts = -1;  // before the work; -1: not measured
  bool operator==(const EnergyReading&) const = default;
};

// What a phase (quantizing one artifact, or generating and executing one evaluation) took on one rank.
// Measured, never estimated: 0 and empty stand for "not measured".
struct PhaseUsage {
  std::string host;
  std::uint32_t rank = 0;
  std::uint32_t attempt = 0;
  double seconds = 0;
  std::uint64_t weight_bytes = 0;       // exact sum of the buffers that hold the loaded model's weights
  std::uint64_t load_growth_bytes = 0;  // how much the resident set grew while the model was loaded
  std::uint64_t resident_peak_bytes = 0;  // of the process so far (VmHWM)
  std::vector<EnergyReading> energy;
  std::string energy_note;  // why counters are missing; empty when none is
  bool operator==(const PhaseUsage&) const = default;
};

enum class VerdictResult : std::uint16_t {
  passed,
  failed,
  timed_out,
  out_of_memory,
  output_limit,
  sandbox_violation,
  compile_error,
};
std::string_view to_string(VerdictResult result);

// What held the program: namespaces of its own, or, where a host forbids those, Landlock with seccomp.
enum class Confinement : std::uint16_t { namespaces, landlock };
std::string_view to_string(Confinement confinement);

// One executed completion.
struct Verdict {
  std::uint32_t task = 0;  // index in the benchmark's order
  std::uint32_t sample = 0;
  VerdictResult result = VerdictResult::failed;
  std::string completion;    // as executed, after the cut
  std::uint32_t tokens = 0;  // generated
  double cpu_seconds = 0;
  std::string detail;  // the end of stderr
  bool isolated = true;  // the answer did not share a process with its tests
  Confinement confinement = Confinement::namespaces;
  std::string output;  // as generated, before the cut; empty when the cut took nothing away
  bool operator==(const Verdict&) const = default;
};

// What a verdict is kept under: the same key is never generated twice.
struct EvaluationKey {
  Digest artifact;
  Digest benchmark;   // of the problem file's bytes
  EvaluateSpec spec;  // without `samples` and `tasks` (more of either reuses what is there) and `sandbox`
  bool operator==(const EvaluationKey&) const = default;
};
// The canonical digest of the key; verdicts lie under it by (task, sample).
Digest evaluation_digest(const EvaluationKey& key);

}  // namespace quench
