#include "cluster/launch/slurm_words.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

// The word behind " NAME=" or at the beginning.
std::string_view value_of(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n';
    const std::size_t sign = at + name.size();
    if (!begins || sign >= text.size() || text[sign] != '=') continue;
    const std::string_view rest = text.substr(sign + 1);
    return rest.substr(0, rest.find_first_of(" \n"));
  }
  return {};
}

template <typename Number>
std::optional<Number> whole(std::string_view text) {
  Number number{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

SlurmPhase phase_of(std::string_view state) {
  constexpr std::array<std::string_view, 7> kInQueue = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
                                                        "SPECIAL_EXIT", "RESV_DEL_HOLD", "REVOKED"};
  constexpr std::array<std::string_view, 8> kOver = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT",
                                                     "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"};
  const auto in = [&](const auto& list) { return std::find(list.begin(), list.end(), state) != list.end(); };
  if (in(kInQueue)) return SlurmPhase::pending;
  if (in(kOver) || state == "OUT_OF_MEMORY") return SlurmPhase::finished;
  return SlurmPhase::running;
}

std::optional<std::uint32_t> number_of(const Variable& variable, const char* name) {
  const char* const text = variable(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const auto number = whole<std::uint32_t>(text);
  if (!number)
    throw Error(ErrorCode::bad_input,
                std::string("the environment's ") + name + " is \"" + text + "\", expected a number");
  return number;
}

// "4(x2),3": the first number; nodes of one job are alike as a rule.
std::optional<std::uint32_t> first_number(const char* text) {
  if (text == nullptr) return std::nullopt;
  const std::string_view words(text);
  return whole<std::uint32_t>(words.substr(0, words.find_first_of("(,")));
}

}  // namespace

std::optional<std::uint32_t> parse_slurm_time(std::string_view text) {
  std::uint32_t days = 0;
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    const auto number = whole<std::uint32_t>(text.substr(0, dash));
    if (!number) return std::nullopt;
    days = *number;
    text.remove_prefix(dash + 1);
  }
  std::uint32_t seconds = 0;
  for (int part = 0; part < 3; ++part) {
    const std::size_t colon = text.find(':');
    if ((colon == std::string_view::npos) != (part == 2)) return std::nullopt;
    const auto number = whole<std::uint32_t>(text.substr(0, colon));
    if (!number) return std::nullopt;
    seconds = seconds * 60 + *number;
    if (part < 2) text.remove_prefix(colon + 1);
  }
  return days * 86'400 + seconds;
}

std::optional<SlurmJobState> parse_job_state(std::string_view text) {
  SlurmJobState job;
  job.state = value_of(text, "JobState");
  if (job.state.empty()) return std::nullopt;
  job.phase = phase_of(job.state);
  job.reason = value_of(text, "Reason");
  job.nodes = value_of(text, "NodeList");
  job.restarts = whole<std::uint32_t>(value_of(text, "Restarts")).value_or(0);
  job.run_seconds = parse_slurm_time(value_of(text, "RunTime")).value_or(0);
  job.limit_seconds = parse_slurm_time(value_of(text, "TimeLimit"));
  const std::string_view code = value_of(text, "ExitCode");
  const std::size_t colon = code.find(':');
  if (colon != std::string_view::npos) {
    job.exit_code = whole<int>(code.substr(0, colon)).value_or(0);
    job.exit_signal = whole<int>(code.substr(colon + 1)).value_or(0);
  }
  return job;
}

std::optional<std::string> parse_submitted(std::string_view text) {
  // A site's wrapper may talk before it.
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (const std::size_t newline = text.rfind('\n'); newline != std::string_view::npos) text.remove_prefix(newline + 1);
  text = text.substr(0, text.find(';'));
  if (!whole<std::uint64_t>(text)) return std::nullopt;
  return std::string(text);
}

bool controller_unreachable(std::string_view words) {
  for (const std::string_view sign :
       {"Unable to contact slurm controller", "Socket timed out", "Connection refused", "Unable to establish",
        "temporarily unable", "Zero Bytes were transmitted", "Could not establish a configuration source"})
    if (words.find(sign) != std::string_view::npos) return true;
  return false;
}

bool unknown_job(std::string_view words) { return words.find("Invalid job id") != std::string_view::npos; }

LabelledLine parse_labelled_line(std::string_view line) {
  const std::size_t colon = line.find(':');
  std::string_view number = line.substr(0, colon);
  while (number.starts_with(' ')) number.remove_prefix(1);  // srun aligns them
  const auto rank = colon == std::string_view::npos ? std::nullopt : whole<std::uint32_t>(number);
  if (!rank) return {std::nullopt, std::string(line)};
  line.remove_prefix(colon + 1);
  if (line.starts_with(' ')) line.remove_prefix(1);
  return {rank, std::string(line)};
}

std::optional<SlurmAllocation> slurm_allocation(const Variable& variable) {
  const char* const id = variable("SLURM_JOB_ID");
  const char* const list = variable("SLURM_JOB_NODELIST");
  if (id == nullptr || *id == '\0' || list == nullptr || *list == '\0') return std::nullopt;
  SlurmAllocation allocation{.job_id = id, .node_list = list};
  allocation.nodes = std::max(1u, number_of(variable, "SLURM_JOB_NUM_NODES").value_or(1));
  allocation.gpus_of_node = number_of(variable, "SLURM_GPUS_ON_NODE").value_or(0);
  const auto tasks = number_of(variable, "SLURM_NTASKS");
  allocation.ranks = std::max(1u, tasks.value_or(allocation.nodes * std::max(1u, allocation.gpus_of_node)));
  const std::uint32_t cores = first_number(variable("SLURM_JOB_CPUS_PER_NODE")).value_or(1);
  const std::uint32_t ranks_on_node = (allocation.ranks + allocation.nodes - 1) / allocation.nodes;
  allocation.threads =
      std::max(1u, number_of(variable, "SLURM_CPUS_PER_TASK").value_or(cores / std::max(1u, ranks_on_node)));
  return allocation;
}

std::optional<SlurmAllocation> slurm_allocation() {
  return slurm_allocation([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace quench::cluster
