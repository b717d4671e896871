#include "tests/cluster/collective/collective_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace quench::cluster::testing {
namespace {

// Around every switch of the algorithms: empty, one, the tree's limit, and several segments (the gangs of the
// tests move 96 KiB at a time).
const std::vector<std::size_t> kByteSizes = {0, 1, 64 << 10, (64 << 10) + 1, 300'013};

Bytes bytes_of(std::uint32_t rank, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 31 + rank * 101 + (i >> 11));
  return bytes;
}

std::vector<std::int64_t> numbers_of(std::uint32_t rank, std::size_t size) {
  std::mt19937_64 generator(1000 + rank);
  std::vector<std::int64_t> numbers(size);
  for (std::int64_t& number : numbers) number = static_cast<std::int64_t>(generator());
  return numbers;
}

std::vector<std::int64_t> sum_of_all(std::uint32_t world, std::size_t size) {
  std::vector<std::uint64_t> sums(size, 0);
  for (std::uint32_t r = 0; r < world; ++r) {
    const std::vector<std::int64_t> numbers = numbers_of(r, size);
    for (std::size_t i = 0; i < size; ++i) sums[i] += static_cast<std::uint64_t>(numbers[i]);
  }
  return {sums.begin(), sums.end()};
}

void broadcast_from_every_root(Collective& gang) {
  for (const std::size_t size : kByteSizes)
    for (std::uint32_t root = 0; root < gang.world(); ++root) {
      Bytes bytes = gang.rank() == root ? bytes_of(root, size) : Bytes(size, 0xee);
      gang.broadcast(bytes, root, "case");
      EXPECT_TRUE(bytes == bytes_of(root, size)) << size << " bytes from " << root;
    }
}

void all_gather_of_uneven_pieces(Collective& gang) {
  for (const std::size_t size : kByteSizes) {
    std::vector<std::size_t> counts(gang.world());
    Bytes expected;
    for (std::uint32_t r = 0; r < gang.world(); ++r) {
      counts[r] = r == 1 ? 0 : size + r;  // one rank has nothing to give
      const Bytes piece = bytes_of(r, counts[r]);
      expected.insert(expected.end(), piece.begin(), piece.end());
    }
    const Bytes mine = bytes_of(gang.rank(), counts[gang.rank()]);
    Bytes all(expected.size());
    gang.all_gather(mine, counts, all, "case");
    EXPECT_TRUE(all == expected) << size;

    const std::vector<Bytes> parts = gang.all_gather_bytes(mine, "case");
    ASSERT_EQ(parts.size(), gang.world());
    for (std::uint32_t r = 0; r < gang.world(); ++r) EXPECT_TRUE(parts[r] == bytes_of(r, counts[r]));
  }
}

void all_gather_in_place(Collective& gang) {
  const std::vector<std::size_t> counts(gang.world(), 1001);
  Bytes all(1001 * gang.world(), 0);
  const auto mine = std::span(all).subspan(1001 * gang.rank(), 1001);
  std::ranges::copy(bytes_of(gang.rank(), 1001), mine.begin());
  gang.all_gather(mine, counts, all, "case");
  for (std::uint32_t r = 0; r < gang.world(); ++r)
    EXPECT_TRUE(std::ranges::equal(std::span(all).subspan(1001 * r, 1001), bytes_of(r, 1001)));
}

void gather_at_every_root(Collective& gang) {
  for (std::uint32_t root = 0; root < gang.world(); ++root) {
    const std::vector<Bytes> parts =
        gang.gather_bytes(bytes_of(gang.rank(), 70'000 + gang.rank()), root, "case");
    if (gang.rank() != root) {
      EXPECT_TRUE(parts.empty());
      continue;
    }
    ASSERT_EQ(parts.size(), gang.world());
    for (std::uint32_t r = 0; r < gang.world(); ++r) EXPECT_TRUE(parts[r] == bytes_of(r, 70'000 + r));
  }
}

void all_reduce_sums_exactly(Collective& gang) {
  for (const std::size_t size : {0, 1, 5, 511, 5000, 100'007}) {
    std::vector<std::int64_t> values = numbers_of(gang.rank(), static_cast<std::size_t>(size));
    gang.all_reduce_sum(values, "case");
    EXPECT_TRUE(values == sum_of_all(gang.world(), values.size())) << size;
  }
}

void all_reduce_takes_the_maximum(Collective& gang) {
  for (const std::size_t size : {1, 100, 20'000}) {
    std::vector<std::int32_t> values(size);
    std::vector<std::int32_t> expected(size, INT32_MIN);
    for (std::uint32_t r = 0; r < gang.world(); ++r) {
      std::mt19937 generator(r);
      for (std::size_t i = 0; i < size; ++i) {
        const auto value = static_cast<std::int32_t>(generator());
        expected[i] = std::max(expected[i], value);
        if (r == gang.rank()) values[i] = value;
      }
    }
    gang.all_reduce_max(values, "case");
    EXPECT_TRUE(values == expected) << size;
  }
}

void reduce_scatter_of_uneven_pieces(Collective& gang) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{9}, std::size_t{3000}, std::size_t{40'003}}) {
    std::vector<std::size_t> counts(gang.world());
    for (std::uint32_t r = 0; r < gang.world(); ++r) counts[r] = r == 2 ? 0 : size + 2 * r;
    const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    const std::size_t begin = std::accumulate(
        counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(gang.rank()), std::size_t{0});
    std::vector<std::int64_t> values = numbers_of(gang.rank(), total);
    const std::vector<std::int64_t> sums = sum_of_all(gang.world(), total);
    const std::span expected = std::span(sums).subspan(begin, counts[gang.rank()]);

    std::vector<std::int64_t> mine(counts[gang.rank()]);
    gang.reduce_scatter_sum(values, counts, mine, "case");
    EXPECT_TRUE(std::ranges::equal(mine, expected)) << size;
    EXPECT_TRUE(values == numbers_of(gang.rank(), total)) << "the input must stay";

    const std::span in_place = std::span(values).subspan(begin, counts[gang.rank()]);
    gang.reduce_scatter_sum(values, counts, in_place, "case");
    EXPECT_TRUE(std::ranges::equal(in_place, expected)) << size;
  }
}

// DESIGN.md section 3: leaves may lie on any rank, the sum is the same. 64 leaves are dealt out by 5 seeds.
void sums_do_not_depend_on_who_holds_a_leaf(Collective& gang) {
  constexpr std::uint32_t kLeaves = 64;
  constexpr std::size_t kSize = 777;
  const std::vector<std::int64_t> expected = sum_of_all(kLeaves, kSize);
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    std::mt19937 generator(seed);
    std::vector<std::int64_t> mine(kSize, 0);
    for (std::uint32_t leaf = 0; leaf < kLeaves; ++leaf) {
      if (generator() % gang.world() != gang.rank()) continue;
      const std::vector<std::int64_t> numbers = numbers_of(leaf, kSize);
      for (std::size_t i = 0; i < kSize; ++i)
        mine[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(mine[i]) +
                                            static_cast<std::uint64_t>(numbers[i]));
    }
    gang.all_reduce_sum(mine, "leaves");
    EXPECT_TRUE(mine == expected) << "seed " << seed;
  }
}

// Barriers pair up with the barriers and sums around them, on every rank.
void barrier_holds_everyone(Collective& gang) {
  for (int round = 0; round < 5; ++round) gang.barrier("round " + std::to_string(round));
  std::vector<std::int64_t> one{1};
  gang.all_reduce_sum(one, "after the barriers");
  EXPECT_EQ(one[0], gang.world());
}

void elements_travel_unchanged(Collective& gang) {
  std::vector<float> panel(1000);
  for (std::size_t i = 0; i < panel.size(); ++i) panel[i] = static_cast<float>(i) * 0.1f;
  std::vector<float> received = gang.rank() == 0 ? panel : std::vector<float>(1000);
  broadcast_elements(gang, std::span(received), 0, "panel");
  EXPECT_TRUE(received == panel);
  const std::vector<std::size_t> counts(gang.world(), panel.size());
  std::vector<float> all(panel.size() * gang.world());
  all_gather_elements(gang, std::span<const float>(panel), counts, std::span(all), "panels");
  EXPECT_TRUE(std::equal(panel.begin(), panel.end(), all.end() - 1000));
}

}  // namespace

const std::vector<CollectiveCase>& collective_cases() {
  static const std::vector<CollectiveCase> cases = {
      {"BroadcastFromEveryRoot", broadcast_from_every_root},
      {"AllGatherOfUnevenPieces", all_gather_of_uneven_pieces},
      {"AllGatherInPlace", all_gather_in_place},
      {"GatherAtEveryRoot", gather_at_every_root},
      {"AllReduceSumsExactly", all_reduce_sums_exactly},
      {"AllReduceTakesTheMaximum", all_reduce_takes_the_maximum},
      {"ReduceScatterOfUnevenPieces", reduce_scatter_of_uneven_pieces},
      {"SumsDoNotDependOnWhoHoldsALeaf", sums_do_not_depend_on_who_holds_a_leaf},
      {"BarrierHoldsEveryone", barrier_holds_everyone},
      {"ElementsTravelUnchanged", elements_travel_unchanged},
  };
  return cases;
}

}  // namespace quench::cluster::testing
