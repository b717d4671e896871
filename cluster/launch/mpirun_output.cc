#include "cluster/launch/mpirun_output.h"

#include <charconv>

namespace quench::cluster {
namespace {

// The number right behind `before` in `line`.
template <typename Number>
std::optional<Number> number_after(std::string_view line, std::string_view before) {
  const std::size_t at = line.find(before);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + before.size());
  while (line.starts_with(' ')) line.remove_prefix(1);
  Number number{};
  const auto [end, status] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (status != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

TaggedLine parse_tagged_line(std::string_view line) {
  const TaggedLine own{std::nullopt, std::string(line)};
  if (!line.starts_with('[')) return own;
  const std::size_t end = line.find(']');
  const std::size_t comma = line.find(',');
  if (end == std::string_view::npos || comma == std::string_view::npos || comma > end) return own;
  const std::string_view rest = line.substr(end + 1);
  std::string_view tag;
  for (const std::string_view known : {"<stdout>:", "<stderr>:"})
    if (rest.starts_with(known)) tag = known;
  if (tag.empty()) return own;
  std::uint32_t rank = 0;
  const auto [stop, status] = std::from_chars(line.data() + comma + 1, line.data() + end, rank);
  if (status != std::errc() || stop != line.data() + end) return own;
  return {rank, std::string(rest.substr(tag.size()))};
}

// "mpirun noticed that process rank 1 with PID 0 on node n exited on signal 9 (Killed)." or
// "  Process name: [[16457,1],1]" followed by "  Exit code:    3". The first report is the cause.
void ExitReport::on_line(std::string_view line) {
  const auto rank = number_after<std::uint32_t>(line, "process rank ");
  const auto signal = number_after<int>(line, "exited on signal ");
  if (rank && signal && !rank_) {
    rank_ = rank;
    signal_ = signal;
  }
  if (const std::size_t name = line.find("Process name: [["); name != std::string_view::npos && !rank_)
    if (const std::size_t bracket = line.find("],", name); bracket != std::string_view::npos)
      rank_ = number_after<std::uint32_t>(line.substr(bracket), "],");
  if (const auto code = number_after<int>(line, "Exit code:"); code && rank_ && !signal_ && !code_)
    code_ = code;
}

}  // namespace quench::cluster
