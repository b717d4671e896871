#include "worker/quantize/quantizer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>

#include "schemas/bit_budget.h"
#include "schemas/error.h"
#include "schemas/synthetic_model.h"
#include "worker/model/arithmetic.h"
#include "worker/model/transformer.h"
#include "worker/quantize/bit_choice.h"
#include "worker/quantize/held_blocks.h"
#include "worker/quantize/hidden_states.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using kernels::ConstMatrixView;
using kernels::MatrixView;

std::vector<std::uint8_t> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in) throw Error(ErrorCode::bad_input, "cannot read " + path.string());
  if (bytes.empty() || bytes.size() > kChunkBytesMax)
    throw Error(ErrorCode::bad_input, path.string() + " has " + std::to_string(bytes.size()) +
                                          " bytes; a file that an artifact carries has 1 to " +
                                          std::to_string(kChunkBytesMax));
  return bytes;
}

OuterDone make_outer(const GangContext& context, const QuantizeOrder& order, const Digest& calibration,
                     std::vector<BitChoice> choices) {
  OuterDone done;
  done.choices = std::move(choices);
  done.artifact = order.artifact;
  done.calibration = calibration;
  const auto carry = [&](const char* name, std::vector<std::uint8_t> bytes) {
    const ChunkRef chunk{sha256(bytes), bytes.size()};
    context.sink.put_chunk(chunk.digest, std::move(bytes));
    done.files.push_back({name, chunk});
  };
  if (context.gang.rank() == 0 && is_synthetic(order.job.model)) {
    const std::string config = parse_synthetic_model(order.job.model).config_json;
    carry("config.json", {config.begin(), config.end()});
  } else if (context.gang.rank() == 0) {
    for (const char* name : kCarriedFiles)
      if (const fs::path path = fs::path(order.job.model) / name; fs::is_regular_file(path))
        carry(name, read_file(path));
  }
  PieceDealer dealer(context.gang.rank(), context.gang.world());
  PieceRecords records;
  std::uint64_t index = 0;
  const std::vector<NamedShape> tensors = outer_tensors(context.source.config());
  for (const NamedShape& tensor : tensors)
    put_raw_pieces(context.source, tensor.name, dealer, index, records, context.sink);
  context.sink.wait_until_stored();
  const std::vector<PieceRecords::Piece> pieces = records.gather(context.gang, index, "outer tensors");
  std::uint64_t next = 0;
  for (const NamedShape& tensor : tensors)
    done.tensors.push_back(raw_record(context.source, tensor.name, pieces, next));
  return done;
}

// What a budget leaves for the blocks' linears: norms, outer tensors and carried files stay as they are.
std::uint64_t bytes_for_linears(const GangContext& context, const QuantizeOrder& order, const QuantizeSpec& recipe) {
  std::uint64_t fixed = 0;
  for (const char* name : kCarriedFiles)
    if (const fs::path path = fs::path(order.job.model) / name; fs::is_regular_file(path)) fixed += fs::file_size(path);
  const auto add = [&](const std::string& name) {
    const StoredTensor& tensor = context.source.tensor(name);
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : tensor.shape) elements *= extent;
    fixed += elements * dtype_bytes(tensor.dtype);
  };
  for (const NamedShape& tensor : outer_tensors(context.source.config())) add(tensor.name);
  for (std::uint32_t layer = 0; layer < context.source.config().layers; ++layer)
    for (const BlockVector& vector : block_vectors(context.source.config(), layer)) add(vector.tensor);
  const std::uint64_t budget = budget_bytes(recipe);
  return budget > fixed ? budget - fixed : 0;
}

fs::path scratch_of(const QuantizeOrder& order) {
  return fs::path(order.scratch_dir) / order.job_id.short_hex() / ("artifact-" + std::to_string(order.artifact));
}

// What a file of the scratch directory belongs to.
Digest key_of(const QuantizeOrder& order, const CalibrationSet& calibration) {
  return Hasher()
      .update(order.job_id.span())
      .update(order.source.span())
      .update(calibration.digest.span())
      .update_u64(order.artifact)
      .finish();
}

// This rank's sequences and their hidden states, from one block boundary to the next.
class Activations {
 public:
  Activations(const GangContext& context, const QuantizeOrder& order, const CalibrationSet& calibration)
      : context_(context),
        calibration_(calibration),
        share_(sequence_share(static_cast<std::uint32_t>(calibration.sequences.size()), context.gang.rank(),
                              context.gang.world())),
        width_(context.source.config().hidden_size),
        rope_(kernels::rope_table(context.source.config().head_dim, context.source.config().rope_theta,
                                  context.source.config().rope_linear_factor, calibration.length)),
        states_(scratch_of(order), key_of(order, calibration)),
        memory_(static_cast<std::size_t>(share_.count()) * calibration.length * width_, context.backend.memory()) {}

  std::int64_t length() const { return calibration_.length; }
  std::int64_t total_tokens() const {
    return static_cast<std::int64_t>(calibration_.sequences.size()) * calibration_.length;
  }
  const kernels::RopeTable& rope() const { return rope_; }
  MatrixView all() { return {memory_.data(), share_.count() * length(), width_}; }

  // Brings all of this rank's sequences to the input of block `block`. Returns how many blocks had to be
  // run again because their states were lost; the embedding is no block.
  std::uint32_t restore(std::uint32_t block, const WeightSource* committed) {
    std::vector<std::uint32_t> boundaries(share_.count(), 0);
    std::uint32_t earliest = block;
    for (std::uint32_t i = 0; i < share_.count(); ++i) {
      const std::optional<std::uint32_t> found =
          block == 0 ? std::nullopt : states_.load_latest(block, share_.begin + i, one(i));
      if (!found) embed_tokens(context_.source, calibration_.sequences[share_.begin + i], one(i));
      kernels::to_device(context_.backend.memory(), one(i));
      boundaries[i] = found.value_or(0);
      earliest = std::min(earliest, boundaries[i]);
    }
    for (std::uint32_t layer = earliest; layer < block; ++layer) {
      const Block weights = load_block(*committed, layer, context_.backend.memory());
      const BlockContext forward_context{context_.backend, context_.source.config(), rope_};
      for (std::uint32_t i = 0; i < share_.count(); ++i) {
        if (boundaries[i] > layer) continue;
        const std::int64_t rows = length();
        BlockForward(forward_context, weights, std::span(&rows, 1), one(i)).finish();
      }
    }
    return block - earliest;
  }

  // Keeps the states at the input of block `block`. Where a device computes, the host's copy of them is written while the
  // next block is under way; wait_saved() before anything else writes to it.
  void save(std::uint32_t block) {
    wait_saved();
    kernels::to_host(context_.backend.memory(), all());
    const auto write = [this, block, view = ConstMatrixView(all()), threads = context_.backend.thread_count()] {
      states_.save_all(block, share_.begin, view, length(), threads);
    };
    if (context_.backend.memory() == nullptr)
      write();
    else
      saving_ = std::async(std::launch::async, write);
  }
  void wait_saved() {
    if (saving_.valid()) saving_.get();
  }

 private:
  MatrixView one(std::uint32_t i) { return all().row_range(i * length(), length()); }

  GangContext context_;
  const CalibrationSet& calibration_;
  SequenceShare share_;
  std::int64_t width_;
  kernels::RopeTable rope_;
  HiddenStates states_;
  kernels::AlignedBuffer<float> memory_;
  std::future<void> saving_;  // the last member: what it reads outlives it
};

// All ranks must have cut the same windows, or the sums would mix two calibration sets.
void check_calibration(const GangContext& context, const QuantizeOrder& order,
                       const CalibrationSet& calibration) {
  const std::vector<Bytes> all =
      context.gang.all_gather_bytes(calibration.digest.span(), "calibration digest");
  for (std::uint32_t rank = 0; rank < all.size(); ++rank)
    if (Digest::from_bytes(all[rank]) != calibration.digest)
      throw Error(ErrorCode::bad_input, "rank " + std::to_string(rank) +
                                            " cut other calibration windows than this rank: the calibration "
                                            "files or the tokenizer differ between hosts");
  if (!order.calibration.is_none() && order.calibration != calibration.digest)
    throw Error(
        ErrorCode::bad_input,
        "the calibration files changed since the job began: restore them, or run the job under another name");
}

void check_fine_tuning(const ModelConfig& config, const QuantizeSpec& recipe) {
  if (recipe.fine_tuning == FineTuning::none || config.family == ModelFamily::llama) return;
  throw Error(ErrorCode::bad_input, recipe.name + ": \"fineTuning\" is for blocks of Llama models; this model is of the family " +
                                        std::string(to_string(config.family)) + ": leave the key out");
}

}  // namespace

void quantize_artifact(const GangContext& context, const QuantizeOrder& order,
                       const CalibrationSet& calibration, const ChunkReader& read_chunk) {
  const QuantizeSpec recipe = artifact_recipes(order.job).at(order.artifact);
  const bool calibrated = needs_calibration(recipe);
  const bool speaks = context.gang.rank() == 0;
  const std::uint32_t layers = context.source.config().layers;
  QUENCH_CHECK(order.first_block <= layers, order.first_block, layers);
  check_fine_tuning(context.source.config(), recipe);
  const ArithmeticScope arithmetic(context.backend, recipe.arithmetic);
  if (speaks && recipe.arithmetic == Arithmetic::bf16)
    context.sink.log(recipe.name + ": products of bf16 by " + std::string(context.backend.bf16_products()));
  if (calibrated) check_calibration(context, order, calibration);

  std::optional<Activations> activations;
  std::vector<BitChoice> choices = order.choices;
  if (!order.outer_committed) {
    if (recipe.budget_gib > 0) {
      PricedModel own;
      PricedModel& priced = context.priced != nullptr ? *context.priced : own;
      if (!priced.serves(recipe, calibration.digest)) {
        activations.emplace(context, order, calibration);
        activations->restore(0, nullptr);
        priced = price_model(context, recipe, activations->rope(), activations->length(), activations->total_tokens(),
                             activations->all(), [&](std::uint32_t layer, const std::string& step) {
                               if (speaks) context.sink.report_step(order.artifact, layer, step);
                             });
        priced.calibration = calibration.digest;
        activations.reset();
      } else if (speaks) {
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%.1f", priced.seconds);
        context.sink.log(recipe.name + ": chooses from the losses that another budget of this job has predicted; " + seconds +
                         " s saved");
      }
      choices = choose_bits(context, recipe, priced, bytes_for_linears(context, order, recipe));
    }
    const OuterDone done = make_outer(context, order, calibrated ? calibration.digest : Digest{}, choices);
    if (speaks) context.sink.commit_outer(done);
  }

  GangContext with_choices = context;
  with_choices.choices = choices;
  with_choices.scratch = scratch_of(order);
  with_choices.scratch_key = key_of(order, calibration);
  // Of an artifact that is tuned end to end nothing is committed until all of it is.
  std::optional<HeldBlocks> held;
  if (recipe.fine_tuning == FineTuning::end_to_end && order.first_block < layers) held.emplace(with_choices, layers, read_chunk);
  const std::uint32_t first = held ? held->count() : order.first_block;
  const std::vector<TensorRecord> before = held ? held->tensors() : order.committed;
  std::uint32_t replayed = 0;
  if (calibrated && first < layers) {
    activations.emplace(context, order, calibration);
    std::unique_ptr<WeightSource> committed;
    if (first > 0) committed = open_tensor_records(context.source.config(), before, read_chunk);
    std::int32_t ran = static_cast<std::int32_t>(activations->restore(first, committed.get()));
    context.gang.all_reduce_max(std::span(&ran, 1), "replayed blocks");
    replayed = static_cast<std::uint32_t>(ran);
    if (speaks && replayed > 0)
      context.sink.log(recipe.name + ": ran " + std::to_string(replayed) +
                       " committed blocks again for their hidden states");
  }

  for (std::uint32_t layer = first; layer < layers; ++layer) {
    const auto started = std::chrono::steady_clock::now();
    const auto on_step = [&](const std::string& step) {
      if (speaks) context.sink.report_step(order.artifact, layer, step);
    };
    // These bring hidden states to the host themselves.
    if (calibrated && (recipe.method == Method::awq || recipe.fine_tuning != FineTuning::none)) activations->wait_saved();
    CalibratedBlock block =
        calibrated
            ? quantize_calibrated_block(with_choices, recipe, layer, activations->rope(), activations->length(),
                                        activations->total_tokens(), activations->all(), on_step)
            : quantize_plain_block(context, recipe, layer);
    if (calibrated && layer + 1 < layers) activations->save(layer + 1);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
    BlockDone done{order.artifact, layer, std::move(block.tensors), std::move(block.losses), seconds.count(), false};
    if (held)
      held->add(std::move(done));
    else if (speaks)
      context.sink.commit_block(done);
    if (speaks) tuning_file(with_choices, layer).remove();
  }
  if (activations) activations->wait_saved();
  if (held)
    held->tune_and_commit(recipe, calibration, order.first_block, [&](const std::string& step) {
      if (speaks) context.sink.report_step(order.artifact, layers - 1, step);
    });
  if (speaks) context.sink.finish_artifact({order.artifact, 0, replayed});
  context.gang.barrier("artifact done");
}

}  // namespace quench::worker
