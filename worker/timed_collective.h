// A collective that keeps count of the time its callers spend in it, by label: what of a step is computing and what is
// waiting for others. Same thread as the collective it passes everything on to, which must outlive it.
#pragma once

#include <map>
#include <string>

#include "cluster/collective/collective.h"

namespace quench::worker {

class TimedCollective final : public cluster::Collective {
 public:
  explicit TimedCollective(cluster::Collective& gang) : gang_(gang) {}
  // Seconds so far in operations with this label.
  double seconds(const std::string& label) const;
  void clear() { seconds_.clear(); }

  std::uint32_t rank() const override { return gang_.rank(); }
  std::uint32_t world() const override { return gang_.world(); }
  void barrier(std::string_view label) override;
  void broadcast(std::span<std::uint8_t> bytes, std::uint32_t root, std::string_view label) override;
  void all_gather(std::span<const std::uint8_t> mine, std::span<const std::size_t> counts, std::span<std::uint8_t> all,
                  std::string_view label) override;
  std::vector<Bytes> all_gather_bytes(std::span<const std::uint8_t> mine, std::string_view label) override;
  std::vector<Bytes> gather_bytes(std::span<const std::uint8_t> mine, std::uint32_t root, std::string_view label) override;
  void all_reduce_sum(std::span<std::int64_t> values, std::string_view label) override;
  void all_reduce_max(std::span<std::int32_t> values, std::string_view label) override;
  void reduce_scatter_sum(std::span<const std::int64_t> values, std::span<const std::size_t> counts,
                          std::span<std::int64_t> mine, std::string_view label) override;

 private:
  cluster::Collective& gang_;
  std::map<std::string, double, std::less<>> seconds_;
};

}  // namespace quench::worker
