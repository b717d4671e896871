#include "cluster/collective/peer_collective.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace quench::cluster {
namespace {

// Below this a broadcast goes down a binomial tree (fewest steps), above it the root scatters and a ring
// gathers (each link carries the data twice at most, whatever the number of ranks).
constexpr std::size_t kTreeBytesMax = 64 << 10;
// Below this an all-reduce gathers everything and combines it everywhere: half the steps.
constexpr std::size_t kGatherReduceBytesMax = 16 << 10;

template <typename Element>
std::span<const std::uint8_t> as_bytes(std::span<const Element> elements) {
  return {reinterpret_cast<const std::uint8_t*>(elements.data()), elements.size_bytes()};
}
template <typename Element>
std::span<std::uint8_t> as_writable_bytes(std::span<Element> elements) {
  return {reinterpret_cast<std::uint8_t*>(elements.data()), elements.size_bytes()};
}

// offsets[r] … offsets[r + 1] is rank r's piece.
std::vector<std::size_t> offsets_of(std::span<const std::size_t> counts) {
  std::vector<std::size_t> offsets(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
  return offsets;
}
std::vector<std::size_t> even_offsets(std::size_t total, std::size_t world) {
  std::vector<std::size_t> offsets(world + 1);
  for (std::size_t r = 0; r <= world; ++r) offsets[r] = total / world * r + std::min(r, total % world);
  return offsets;
}

std::string seconds_text(std::uint32_t ms) {
  if (ms % 1000 == 0) return std::to_string(ms / 1000) + " s";
  return std::to_string(ms) + " ms";
}

// Unsigned, so that a wrapped sum is defined; the Hessian's shift keeps it from happening.
constexpr auto kSum = [](std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
};
constexpr auto kMax = [](std::int32_t a, std::int32_t b) { return std::max(a, b); };

}  // namespace

Error no_progress_error(std::uint32_t progress_ms_max, const Outgoing& out, const Incoming& in) {
  std::string text = "no progress for " + seconds_text(progress_ms_max) + " (";
  if (!in.bytes.empty()) text += "waiting for rank " + std::to_string(in.from);
  if (!in.bytes.empty() && !out.bytes.empty()) text += ", ";
  if (!out.bytes.empty()) text += "sending to rank " + std::to_string(out.to);
  return Error(ErrorCode::timed_out, text + "); it has stopped, lost its network, or still computes");
}

bool missed(const CollectiveOptions& options, std::chrono::steady_clock::duration waited) {
  if (options.abort != nullptr) return options.abort->is_late(waited, options.progress_ms_max);
  return waited >= std::chrono::milliseconds(options.progress_ms_max);
}

PeerCollective::PeerCollective(std::unique_ptr<PeerTransport> transport, const CollectiveOptions& options)
    : transport_(std::move(transport)),
      options_(options),
      rank_(transport_->rank()),
      world_(transport_->world()) {
  QUENCH_CHECK(world_ >= 1 && rank_ < world_, rank_, world_);
  QUENCH_CHECK(options_.segment_bytes >= 8 && options_.segment_bytes % 8 == 0, options_.segment_bytes);
}

template <typename Body>
void PeerCollective::operate(std::string_view name, std::string_view label, Body&& body) {
  if (broken_) throw *broken_;
  ++operation_;
  try {
    if (options_.abort != nullptr) options_.abort->check();
    body();
  } catch (Error& error) {
    error.with_context("rank " + std::to_string(rank_) + ": " + std::string(name) + " \"" +
                       std::string(label) + "\"");
    broken_ = error;
    transport_->on_broken();
    throw;
  }
}

void PeerCollective::exchange(const Outgoing& out, const Incoming& in) {
  const std::size_t longest = std::max(out.bytes.size(), in.bytes.size());
  for (std::size_t begin = 0; begin < longest; begin += options_.segment_bytes) {
    const auto segment = [&](auto bytes) {
      if (begin >= bytes.size()) return decltype(bytes){};
      return bytes.subspan(begin, std::min(options_.segment_bytes, bytes.size() - begin));
    };
    transport_->exchange({out.to, segment(out.bytes)}, {in.from, segment(in.bytes)}, operation_);
  }
}

// Dissemination: after step k each rank knows of 2^(k+1) ranks that they arrived.
void PeerCollective::barrier(std::string_view label) {
  operate("barrier", label, [&] {
    const std::uint8_t here = 1;
    std::uint8_t there = 0;
    for (std::uint32_t distance = 1; distance < world_; distance *= 2)
      exchange({(rank_ + distance) % world_, {&here, 1}},
               {(rank_ + world_ - distance) % world_, {&there, 1}});
  });
}

void PeerCollective::broadcast(std::span<std::uint8_t> bytes, std::uint32_t root, std::string_view label) {
  QUENCH_CHECK(root < world_, root, world_);
  operate("broadcast", label, [&] {
    if (world_ == 1 || bytes.empty()) return;
    if (bytes.size() <= kTreeBytesMax || world_ == 2)
      broadcast_tree(bytes, root);
    else
      broadcast_large(bytes, root);
  });
}

void PeerCollective::broadcast_tree(std::span<std::uint8_t> bytes, std::uint32_t root) {
  const std::uint32_t place = (rank_ + world_ - root) % world_;  // the root is place 0
  const auto rank_at = [&](std::uint32_t at) { return (at + root) % world_; };
  std::uint32_t distance = 1;
  for (; distance < world_; distance *= 2)
    if (place & distance) {
      exchange({}, {rank_at(place - distance), bytes});
      break;
    }
  for (distance /= 2; distance > 0; distance /= 2)
    if (place + distance < world_) exchange({rank_at(place + distance), bytes}, {});
}

void PeerCollective::broadcast_large(std::span<std::uint8_t> bytes, std::uint32_t root) {
  const std::vector<std::size_t> offsets = even_offsets(bytes.size(), world_);
  const auto piece = [&](std::uint32_t r) { return bytes.subspan(offsets[r], offsets[r + 1] - offsets[r]); };
  if (rank_ == root) {
    for (std::uint32_t r = 0; r < world_; ++r)
      if (r != root) exchange({r, piece(r)}, {});
  } else {
    exchange({}, {root, piece(rank_)});
  }
  ring_all_gather(offsets, bytes);
}

// Each rank's piece travels once around: step s sends what step s - 1 received.
void PeerCollective::ring_all_gather(std::span<const std::size_t> offsets, std::span<std::uint8_t> all) {
  const auto piece = [&](std::uint32_t r) { return all.subspan(offsets[r], offsets[r + 1] - offsets[r]); };
  const std::uint32_t right = (rank_ + 1) % world_;
  const std::uint32_t left = (rank_ + world_ - 1) % world_;
  for (std::uint32_t step = 0; step + 1 < world_; ++step)
    exchange({right, piece((rank_ + world_ - step) % world_)},
             {left, piece((rank_ + world_ - step - 1) % world_)});
}

void PeerCollective::all_gather(std::span<const std::uint8_t> mine, std::span<const std::size_t> counts,
                                std::span<std::uint8_t> all, std::string_view label) {
  QUENCH_CHECK(counts.size() == world_, counts.size(), world_);
  const std::vector<std::size_t> offsets = offsets_of(counts);
  QUENCH_CHECK(offsets.back() == all.size(), offsets.back(), all.size(), label);
  QUENCH_CHECK(mine.size() == counts[rank_], mine.size(), counts[rank_], label);
  operate("all_gather", label, [&] {
    std::uint8_t* const place = all.data() + offsets[rank_];
    if (!mine.empty() && place != mine.data()) std::memmove(place, mine.data(), mine.size());
    ring_all_gather(offsets, all);
  });
}

std::vector<std::size_t> PeerCollective::gather_sizes(std::size_t mine) {
  std::vector<std::uint64_t> sizes(world_, 0);
  sizes[rank_] = mine;
  std::vector<std::size_t> offsets(world_ + 1);
  for (std::uint32_t r = 0; r <= world_; ++r) offsets[r] = r * sizeof(std::uint64_t);
  ring_all_gather(offsets, as_writable_bytes(std::span(sizes)));
  return {sizes.begin(), sizes.end()};
}

std::vector<Bytes> PeerCollective::all_gather_bytes(std::span<const std::uint8_t> mine,
                                                    std::string_view label) {
  std::vector<Bytes> parts(world_);
  operate("all_gather", label, [&] {
    const std::vector<std::size_t> sizes = gather_sizes(mine.size());
    for (std::uint32_t r = 0; r < world_; ++r) parts[r].resize(sizes[r]);
    parts[rank_].assign(mine.begin(), mine.end());
    const std::uint32_t right = (rank_ + 1) % world_;
    const std::uint32_t left = (rank_ + world_ - 1) % world_;
    for (std::uint32_t step = 0; step + 1 < world_; ++step)
      exchange({right, parts[(rank_ + world_ - step) % world_]},
               {left, parts[(rank_ + world_ - step - 1) % world_]});
  });
  return parts;
}

std::vector<Bytes> PeerCollective::gather_bytes(std::span<const std::uint8_t> mine, std::uint32_t root,
                                                std::string_view label) {
  QUENCH_CHECK(root < world_, root, world_);
  std::vector<Bytes> parts;
  operate("gather", label, [&] {
    const std::vector<std::size_t> sizes = gather_sizes(mine.size());
    if (rank_ != root) return exchange({root, mine}, {});
    parts.resize(world_);
    for (std::uint32_t r = 0; r < world_; ++r) {
      parts[r].resize(sizes[r]);
      if (r != root) exchange({}, {r, parts[r]});
    }
    parts[root].assign(mine.begin(), mine.end());
  });
  return parts;
}

// Pairwise: in step s every rank sends the piece of the rank s places on and adds what comes from the rank
// s places back. Each rank sends and receives every piece once, and holds one segment more than it was
// given. The order of the additions differs from rank to rank, which exact sums allow.
template <typename Element, typename Combine>
void PeerCollective::reduce_scatter(std::span<const Element> values, std::span<const std::size_t> offsets,
                                    std::span<Element> mine, Combine combine) {
  const std::size_t segment = options_.segment_bytes / sizeof(Element);
  const auto piece = [&](std::uint32_t r) { return values.subspan(offsets[r], offsets[r + 1] - offsets[r]); };
  if (!mine.empty() && mine.data() != piece(rank_).data())
    std::memmove(mine.data(), piece(rank_).data(), mine.size_bytes());
  std::vector<Element> received(std::min(segment, mine.size()));
  for (std::uint32_t step = 1; step < world_; ++step) {
    const std::uint32_t to = (rank_ + step) % world_;
    const std::uint32_t from = (rank_ + world_ - step) % world_;
    const std::span<const Element> outgoing = piece(to);
    const std::size_t longest = std::max(outgoing.size(), mine.size());
    for (std::size_t begin = 0; begin < longest; begin += segment) {
      const std::size_t sent = begin < outgoing.size() ? std::min(segment, outgoing.size() - begin) : 0;
      const std::size_t count = begin < mine.size() ? std::min(segment, mine.size() - begin) : 0;
      exchange({to, sent == 0 ? std::span<const std::uint8_t>{} : as_bytes(outgoing.subspan(begin, sent))},
               {from, as_writable_bytes(std::span(received).first(count))});
      for (std::size_t i = 0; i < count; ++i) mine[begin + i] = combine(mine[begin + i], received[i]);
    }
  }
}

template <typename Element, typename Combine>
void PeerCollective::all_reduce(std::span<Element> values, Combine combine) {
  if (world_ == 1 || values.empty()) return;
  if (values.size_bytes() * world_ <= kGatherReduceBytesMax) {
    std::vector<Element> all(values.size() * world_);
    std::copy(values.begin(), values.end(), all.begin() + static_cast<std::ptrdiff_t>(rank_ * values.size()));
    std::vector<std::size_t> offsets(world_ + 1);
    for (std::uint32_t r = 0; r <= world_; ++r) offsets[r] = r * values.size_bytes();
    ring_all_gather(offsets, as_writable_bytes(std::span(all)));
    for (std::uint32_t r = 0; r < world_; ++r) {
      if (r == rank_) continue;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = combine(values[i], all[r * values.size() + i]);
    }
    return;
  }
  std::vector<std::size_t> offsets = even_offsets(values.size(), world_);
  const std::span<Element> mine = values.subspan(offsets[rank_], offsets[rank_ + 1] - offsets[rank_]);
  reduce_scatter(std::span<const Element>(values), offsets, mine, combine);
  for (std::size_t& offset : offsets) offset *= sizeof(Element);
  ring_all_gather(offsets, as_writable_bytes(values));
}

void PeerCollective::all_reduce_sum(std::span<std::int64_t> values, std::string_view label) {
  operate("all_reduce", label, [&] { all_reduce(values, kSum); });
}

void PeerCollective::all_reduce_max(std::span<std::int32_t> values, std::string_view label) {
  operate("all_reduce", label, [&] { all_reduce(values, kMax); });
}

void PeerCollective::reduce_scatter_sum(std::span<const std::int64_t> values,
                                        std::span<const std::size_t> counts, std::span<std::int64_t> mine,
                                        std::string_view label) {
  QUENCH_CHECK(counts.size() == world_, counts.size(), world_);
  const std::vector<std::size_t> offsets = offsets_of(counts);
  QUENCH_CHECK(offsets.back() == values.size(), offsets.back(), values.size(), label);
  QUENCH_CHECK(mine.size() == counts[rank_], mine.size(), counts[rank_], label);
  operate("reduce_scatter", label, [&] { reduce_scatter(values, offsets, mine, kSum); });
}

}  // namespace quench::cluster
