// What mpirun (Open MPI 4.1) says of its ranks, read from its lines. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quench::cluster {

// A line under `--tag-output`: "[1,2]<stderr>:text" is rank 2's "text"; without a tag it is mpirun's own.
struct TaggedLine {
  std::optional<std::uint32_t> rank;
  std::string text;
};
TaggedLine parse_tagged_line(std::string_view line);

// Collects the end of a gang from mpirun's own lines: which rank ended it, and how.
class ExitReport {
 public:
  void on_line(std::string_view mpirun_line);
  std::optional<std::uint32_t> rank() const { return rank_; }
  std::optional<int> signal() const { return signal_; }
  std::optional<int> code() const { return code_; }

 private:
  std::optional<std::uint32_t> rank_;
  std::optional<int> signal_;
  std::optional<int> code_;
};

}  // namespace quench::cluster
