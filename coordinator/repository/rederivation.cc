#include "coordinator/repository/rederivation.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/records.h"
#include "coordinator/repository/lineage.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr int kDifferencesTold = 8;

bool same_recipe(QuantizeSpec a, const QuantizeSpec& nameless) {
  a.name.clear();
  return a == nameless;
}

}  // namespace

Rederivation rederivation_of(const ArtifactStore& store, const std::string& ref, const std::string& model) {
  const Lineage lineage = Lineages(store).of(store.resolve(ref));
  require_model(lineage.manifest, ref);
  if (!lineage.manifest.endpoint_url.empty())
    throw Error(ErrorCode::bad_input, ref + " is a model that is served elsewhere: there is no recipe to run");
  if (!lineage.job)
    throw Error(ErrorCode::bad_input, ref + " was not made in this store (it was pulled or imported), so its job is not known: "
                                            "run --rederive where it was made");
  Rederivation plan{lineage.digest, lineage.manifest, *lineage.job};
  plan.job.name = "rederive";
  plan.job.evaluate.clear();
  plan.job.protocol.clear();
  plan.job.quantize.clear();
  plan.job.baseline = lineage.manifest.recipe.method == Method::none;
  for (const QuantizeSpec& recipe : artifact_recipes(*lineage.job))
    if (same_recipe(recipe, lineage.manifest.recipe) && recipe.method != Method::none && plan.job.quantize.empty())
      plan.job.quantize.push_back(recipe);
  if (plan.job.quantize.empty() && !plan.job.baseline)
    throw Error(ErrorCode::corrupt, ref + " has a recipe that its job does not have");
  if (!model.empty()) plan.job.model = model;
  return plan;
}

std::string to_json(const Rederivation& plan) {
  using nlohmann::ordered_json;
  return ordered_json{{"digest", plan.digest.hex()},
                      {"calibration_set", plan.manifest.calibration_set.is_none() ? "" : plan.manifest.calibration_set.hex()},
                      {"manifest", to_base64(as_text(encode(plan.manifest)))},
                      {"job", ordered_json::parse(job_to_json(plan.job))}}
             .dump(2) +
         "\n";
}

std::vector<BlockRecords> blocks_of(const Manifest& manifest) {
  std::vector<BlockRecords> blocks;
  const auto block = [&](const std::string& tensor) -> BlockRecords* {
    constexpr std::string_view kLayers = ".layers.";
    const std::size_t at = tensor.find(kLayers);
    if (at == std::string::npos) return nullptr;
    std::uint32_t number = 0;
    const char* digits = tensor.data() + at + kLayers.size();
    if (std::from_chars(digits, tensor.data() + tensor.size(), number).ec != std::errc() || number > manifest.tensors.size())
      throw Error(ErrorCode::corrupt, "tensor " + tensor + " belongs to no block");
    if (number >= blocks.size()) blocks.resize(number + 1);
    return &blocks[number];
  };
  for (const TensorRecord& tensor : manifest.tensors)
    if (BlockRecords* of = block(tensor.name)) of->tensors.push_back(tensor);
  for (const LinearLoss& loss : manifest.losses)
    if (BlockRecords* of = block(loss.tensor)) of->losses.push_back(loss);
  return blocks;
}

std::vector<std::uint32_t> sample_blocks(std::uint32_t blocks, std::uint32_t count, std::uint64_t seed) {
  std::set<std::uint32_t> drawn;
  for (std::uint64_t draw = 0; drawn.size() < std::min(count, blocks); ++draw) {
    const Digest digest = Hasher().update("rederive").update_u64(seed).update_u64(draw).finish();
    std::uint64_t number = 0;
    for (int i = 0; i < 8; ++i) number = number << 8 | digest.bytes[static_cast<std::size_t>(i)];
    drawn.insert(static_cast<std::uint32_t>(number % blocks));
  }
  return {drawn.begin(), drawn.end()};
}

void write_journal_before(ArtifactStore& store, const Digest& job_id, const JobSpec& job, const Manifest& manifest,
                          std::uint32_t block) {
  const std::string journal = journal_name(job_id);
  if (!store.read_journal(journal).empty()) store.commit(Commit().forget_journal(journal));
  const std::vector<BlockRecords> blocks = blocks_of(manifest);
  OuterCommitted outer;
  outer.calibration = manifest.calibration;
  outer.files = manifest.files;
  std::set<std::string> inside;
  for (const BlockRecords& one : blocks)
    for (const TensorRecord& tensor : one.tensors) {
      inside.insert(tensor.name);
      if (manifest.recipe.budget_gib > 0 && tensor.layout == TensorLayout::packed)
        outer.choices.push_back({tensor.name, tensor.bits, tensor.group_size});
    }
  for (const TensorRecord& tensor : manifest.tensors)
    if (!inside.contains(tensor.name)) outer.tensors.push_back(tensor);
  const auto chunks_in = [](const std::vector<TensorRecord>& tensors, const std::vector<FileRecord>& files) {
    Manifest part;
    part.tensors = tensors;
    part.files = files;
    std::vector<Digest> digests;
    for (const ChunkRef& chunk : chunks_of(part)) digests.push_back(chunk.digest);
    return digests;
  };
  Commit commit;
  commit.append_journal(journal, encode(quench::JournalEvent(JobAccepted{job, manifest.source})));
  commit.append_journal(journal, encode(quench::JournalEvent(outer)), chunks_in(outer.tensors, outer.files));
  for (std::uint32_t before = 0; before < block; ++before) {
    BlockWritten written;
    written.block = before;
    written.tensors = blocks[before].tensors;
    written.losses = blocks[before].losses;
    commit.append_journal(journal, encode(quench::JournalEvent(written)), chunks_in(written.tensors, {}));
  }
  store.commit(commit);
}

std::optional<BlockRecords> committed_block(const ArtifactStore& store, const Digest& job_id, std::uint32_t block) {
  for (const JournalEvent& record : store.read_journal(journal_name(job_id))) {
    const quench::JournalEvent event = decode_journal_event(record.bytes);
    if (const auto* written = std::get_if<BlockWritten>(&event); written != nullptr && written->block == block)
      return BlockRecords{written->tensors, written->losses};
  }
  return std::nullopt;
}

std::string manifest_differences(const Manifest& stored, const Manifest& made) {
  std::string text;
  int told = 0;
  const auto tell = [&](const std::string& what) {
    if (told++ < kDifferencesTold) text += "  " + what + "\n";
  };
  if (stored.source != made.source) tell("the source model is another: " + made.source.hex());
  if (stored.calibration != made.calibration) tell("the calibration windows are others: " + made.calibration.hex());
  if (stored.recipe != made.recipe) tell("the recipe is another");
  std::map<std::string, const TensorRecord*> tensors;
  for (const TensorRecord& tensor : made.tensors) tensors[tensor.name] = &tensor;
  for (const TensorRecord& tensor : stored.tensors) {
    const auto other = tensors.find(tensor.name);
    if (other == tensors.end()) {
      tell(tensor.name + " was not made");
    } else if (*other->second != tensor) {
      tell(tensor.name + " has other bytes");
    }
  }
  if (stored.files != made.files) tell("the carried files (config, tokenizer) are others");
  if (stored.losses != made.losses) tell("the losses are others");
  if (told > kDifferencesTold) text += fmt::format("  and {} more\n", told - kDifferencesTold);
  if (told == 0 && stored != made) text = "  fields of the manifest differ\n";
  return text;
}

}  // namespace quench::coordinator
