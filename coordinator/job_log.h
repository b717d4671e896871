// A job's log file, STORE/logs/JOB.log: one dated line for each event, appended for as long as the job lives, by
// whichever process runs it. One thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "schemas/artifact.h"

namespace quench::coordinator {

class JobLog {
 public:
  // Throws Error(failed) when it cannot be opened.
  explicit JobLog(const std::filesystem::path& file);
  void write(const std::string& text);

 private:
  std::ofstream out_;
};

// "model.layers.0.mlp.up_proj.weight  loss 0.12  relative 0.0034"
std::string loss_line(const LinearLoss& loss);

}  // namespace quench::coordinator
