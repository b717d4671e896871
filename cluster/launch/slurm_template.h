// The batch script that a site can edit: text with fields in double braces. Pure functions on text.
//
//   {{ranks}}         required: how many processes are wanted; an upper bound where the site asks for a range of nodes
//   {{command}}       required: what each task runs; stands behind srun or mpirun
//   {{threads}}       cores of each
//   {{gpu_options}}   for an #SBATCH line: a GPU for each of them, the only one that it sees; nothing where none is wanted
//   {{srun_options}}  what srun must be told: ranks of one MPI job, or workers that live and die alone
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "cluster/launch/launcher.h"

namespace quench::cluster {

struct SlurmFields {
  std::uint32_t ranks = 1;
  std::uint32_t threads = 1;
  GangKind kind = GangKind::ranks;
  std::string command;
  std::uint32_t gpus = 0;  // of each
};

class SlurmTemplate {
 public:
  // Checks that `text` is a script with the required fields and none that is unknown; `name` is what errors
  // call it. Throws Error(bad_input) naming file, line and field.
  SlurmTemplate(std::string name, std::string text);
  // The template that a site starts from: cluster/launch/slurm.sbatch.
  static SlurmTemplate built_in();
  static SlurmTemplate read(const std::filesystem::path& file);

  const std::string& name() const { return name_; }
  std::string fill(const SlurmFields& fields) const;
  // How long before the time limit it asks for a signal (`--signal=...@SECONDS`); 0: not at all.
  std::uint32_t signal_seconds() const;

 private:
  std::string name_;
  std::string text_;
};

}  // namespace quench::cluster
