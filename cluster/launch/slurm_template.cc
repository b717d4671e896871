#include "cluster/launch/slurm_template.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <utility>

#include "schemas/error.h"

// The linker takes the file as it lies in the source tree.
__asm__(
    ".pushsection .rodata\n"
    ".hidden quench_slurm_template_begin\n"
    ".global quench_slurm_template_begin\n"
    "quench_slurm_template_begin:\n"
    ".incbin \"" QUENCH_LAUNCH_DIR
    "/slurm.sbatch\"\n"
    ".hidden quench_slurm_template_end\n"
    ".global quench_slurm_template_end\n"
    "quench_slurm_template_end:\n"
    ".byte 0\n"
    ".popsection\n");
extern "C" __attribute__((visibility("hidden"))) const char quench_slurm_template_begin[];
extern "C" __attribute__((visibility("hidden"))) const char quench_slurm_template_end[];

namespace quench::cluster {
namespace {

constexpr std::array<std::string_view, 5> kFields = {"ranks", "command", "threads", "srun_options", "gpu_options"};
constexpr std::array<std::string_view, 2> kRequired = {"ranks", "command"};
constexpr std::size_t kTemplateBytesMax = 1 << 20;

std::string known_fields() {
  std::string all;
  for (const std::string_view field : kFields) {
    if (!all.empty()) all.append(", ");
    all.append("{{").append(field).append("}}");
  }
  return all;
}

std::size_t line_of(const std::string& text, std::size_t at) {
  std::size_t line = 1;
  for (std::size_t i = 0; i < at; ++i) line += text[i] == '\n' ? 1 : 0;
  return line;
}

// A line that neither Slurm nor the shell reads: a field in it asks for nothing.
bool in_comment(const std::string& text, std::size_t at) {
  const std::size_t newline = text.rfind('\n', at);
  const std::string_view line = std::string_view(text).substr(newline == std::string::npos ? 0 : newline + 1);
  return line.starts_with("#") && !line.starts_with("#SBATCH");
}

// Calls `visit(begin, end, name)` for each {{name}}.
template <typename Visit>
void each_field(const std::string& text, const std::string& file, Visit visit) {
  for (std::size_t at = text.find("{{"); at != std::string::npos; at = text.find("{{", at + 2)) {
    const std::size_t end = text.find("}}", at);
    if (end == std::string::npos || text.substr(at, end - at).find('\n') != std::string::npos)
      throw Error(ErrorCode::bad_input, file + ", line " + std::to_string(line_of(text, at)) +
                                            ": {{ without }} behind it; fields are " + known_fields());
    visit(at, end + 2, std::string_view(text).substr(at + 2, end - at - 2));
  }
}

// Slurm's own binding would put a rank's threads on one core; a lost rank must end the others, a lost worker not.
std::string srun_options(const SlurmFields& fields) {
  const std::string common = "--label --cpu-bind=none --cpus-per-task=" + std::to_string(fields.threads);
  return fields.kind == GangKind::ranks ? common + " --mpi=pmix --kill-on-bad-exit=1"
                                        : common + " --mpi=none --kill-on-bad-exit=0 --wait=0";
}

}  // namespace

SlurmTemplate::SlurmTemplate(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {
  if (!text_.starts_with("#!"))
    throw Error(ErrorCode::bad_input, name_ + ", line 1: expected a script that begins with #!/bin/bash or the like, as "
                                              "sbatch wants it");
  std::array<bool, kFields.size()> found{};
  each_field(text_, name_, [&](std::size_t begin, std::size_t, std::string_view field) {
    for (std::size_t i = 0; i < kFields.size(); ++i)
      if (kFields[i] == field) {
        if (!in_comment(text_, begin)) found[i] = true;
        return;
      }
    throw Error(ErrorCode::bad_input, name_ + ", line " + std::to_string(line_of(text_, begin)) + ": unknown field {{" +
                                          std::string(field) + "}}; fields are " + known_fields());
  });
  for (const std::string_view required : kRequired)
    for (std::size_t i = 0; i < kFields.size(); ++i)
      if (kFields[i] == required && !found[i])
        throw Error(ErrorCode::bad_input,
                    name_ + ": the field {{" + std::string(required) + "}} is missing" +
                        (required == "ranks" ? "; ask Slurm for so many tasks, as in: #SBATCH --ntasks={{ranks}}"
                                             : "; run it in every task, as in: srun {{srun_options}} {{command}}"));
}

SlurmTemplate SlurmTemplate::built_in() {
  return {"the built-in Slurm template", std::string(quench_slurm_template_begin, quench_slurm_template_end)};
}

SlurmTemplate SlurmTemplate::read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  if (in) text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in && text.empty())
    throw errno_error(ErrorCode::bad_input, "cannot read the Slurm template " + file.string(), errno);
  if (text.size() > kTemplateBytesMax)
    throw Error(ErrorCode::bad_input, file.string() + ": a Slurm template of " + std::to_string(text.size()) +
                                          " bytes, at most " + std::to_string(kTemplateBytesMax) + " are read");
  return {file.string(), std::move(text)};
}

std::string SlurmTemplate::fill(const SlurmFields& fields) const {
  std::string filled;
  std::size_t copied = 0;
  each_field(text_, name_, [&](std::size_t begin, std::size_t end, std::string_view field) {
    filled.append(text_, copied, begin - copied);
    if (field == "ranks") filled += std::to_string(fields.ranks);
    if (field == "threads") filled += std::to_string(fields.threads);
    if (field == "command") filled += fields.command;
    if (field == "gpu_options" && fields.gpus > 0) filled += "--gpus-per-task=" + std::to_string(fields.gpus);
    if (field == "srun_options") filled += srun_options(fields);
    copied = end;
  });
  filled.append(text_, copied);
  return filled;
}

std::uint32_t SlurmTemplate::signal_seconds() const {
  for (std::size_t at = text_.find("--signal"); at != std::string::npos; at = text_.find("--signal", at + 1)) {
    if (in_comment(text_, at)) continue;
    const std::size_t sign = text_.find('@', at);
    if (sign == std::string::npos || sign > text_.find('\n', at)) return 60;  // Slurm's default
    std::uint32_t seconds = 0;
    std::from_chars(text_.data() + sign + 1, text_.data() + text_.size(), seconds);
    return seconds;
  }
  return 0;
}

}  // namespace quench::cluster
