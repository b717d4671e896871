// The collectives' algorithms over any PeerTransport. All of them move segments of 8 MiB, so
// that memory is bounded, no library sees more than 2^31 bytes at once, and a wait that makes progress
// can be told from one that does not.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cluster/collective/collective.h"
#include "cluster/collective/peer_transport.h"

namespace quench::cluster {

class PeerCollective final : public Collective {
 public:
  PeerCollective(std::unique_ptr<PeerTransport> transport, const CollectiveOptions& options);

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world() const override { return world_; }
  void barrier(std::string_view label) override;
  void broadcast(std::span<std::uint8_t> bytes, std::uint32_t root, std::string_view label) override;
  void all_gather(std::span<const std::uint8_t> mine, std::span<const std::size_t> counts,
                  std::span<std::uint8_t> all, std::string_view label) override;
  std::vector<Bytes> all_gather_bytes(std::span<const std::uint8_t> mine, std::string_view label) override;
  std::vector<Bytes> gather_bytes(std::span<const std::uint8_t> mine, std::uint32_t root,
                                  std::string_view label) override;
  void all_reduce_sum(std::span<std::int64_t> values, std::string_view label) override;
  void all_reduce_max(std::span<std::int32_t> values, std::string_view label) override;
  void reduce_scatter_sum(std::span<const std::int64_t> values, std::span<const std::size_t> counts,
                          std::span<std::int64_t> mine, std::string_view label) override;

 private:
  // Runs one operation: refuses when broken or aborted, names rank, operation and label in an Error.
  template <typename Body>
  void operate(std::string_view name, std::string_view label, Body&& body);
  // Segment by segment; both sides know both sizes.
  void exchange(const Outgoing& out, const Incoming& in);
  void broadcast_tree(std::span<std::uint8_t> bytes, std::uint32_t root);
  void broadcast_large(std::span<std::uint8_t> bytes, std::uint32_t root);
  void ring_all_gather(std::span<const std::size_t> offsets, std::span<std::uint8_t> all);
  std::vector<std::size_t> gather_sizes(std::size_t mine);
  template <typename Element, typename Combine>
  void reduce_scatter(std::span<const Element> values, std::span<const std::size_t> offsets,
                      std::span<Element> mine, Combine combine);
  template <typename Element, typename Combine>
  void all_reduce(std::span<Element> values, Combine combine);

  std::unique_ptr<PeerTransport> transport_;
  CollectiveOptions options_;
  std::uint32_t rank_;
  std::uint32_t world_;
  std::uint64_t operation_ = 0;
  std::optional<Error> broken_;
};

}  // namespace quench::cluster
