#include "coordinator/lease_table.h"

#include <gtest/gtest.h>

#include <random>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

Verdict verdict(std::uint32_t task, std::uint32_t sample) {
  Verdict one;
  one.task = task;
  one.sample = sample;
  return one;
}

std::vector<Verdict> all_of(const LeaseGrant& grant) {
  std::vector<Verdict> verdicts;
  for (const LeaseItem& item : grant.items) verdicts.push_back(verdict(item.task, item.sample));
  return verdicts;
}

TEST(LeaseTable, LendsEveryItemOnce) {
  LeaseTable table(3, 2, {{1, 0}});
  EXPECT_EQ(table.done(), 1u);
  std::set<LeaseTable::Item> seen;
  for (LeaseGrant grant = table.grant(0, 1, 2, 0, 10); !grant.items.empty();
       grant = table.grant(0, 1, 2, 0, 10))
    for (const LeaseItem& item : grant.items) EXPECT_TRUE(seen.emplace(item.task, item.sample).second);
  EXPECT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen.count({1, 0}), 0u);
}

TEST(LeaseTable, LateVerdictsOfAnExpiredLeaseAreTakenOnceFromWhoeverIsFirst) {
  LeaseTable table(2, 1, {});
  const LeaseGrant slow = table.grant(0, 1, 2, 0, 10);
  EXPECT_EQ(table.expire(9), 0u);
  EXPECT_EQ(table.expire(10), 1u);
  const LeaseGrant again = table.grant(1, 1, 2, 20, 10);
  ASSERT_EQ(again.items.size(), 2u);
  EXPECT_EQ(table.accept(slow.lease, all_of(slow)).size(), 2u);
  EXPECT_TRUE(table.accept(again.lease, all_of(again)).empty());
  EXPECT_TRUE(table.complete());
  EXPECT_FALSE(table.has_pending() && !table.grant(0, 1, 9, 0, 1).items.empty());
}

TEST(LeaseTable, ARenewedLeaseLivesOn) {
  LeaseTable table(2, 1, {});
  const LeaseGrant slow = table.grant(7, 1, 2, 0, 10);
  table.renew(slow.lease, 9, 10);
  EXPECT_EQ(table.expire(18), 0u);
  EXPECT_EQ(table.expire(19), 1u);
  table.renew(slow.lease, 20, 10);  // too late: it is no more
  EXPECT_TRUE(table.has_pending());
  EXPECT_EQ(table.grant(8, 1, 2, 20, 10).items.size(), 2u);
}

TEST(LeaseTable, ALostHoldersLeasesReturnAndNoOthers) {
  LeaseTable table(4, 1, {});
  const LeaseGrant first = table.grant(7, 1, 1, 0, 10);
  const LeaseGrant ahead = table.grant(7, 1, 1, 0, 10);  // fetched while the first one is executed
  const LeaseGrant other = table.grant(8, 1, 2, 0, 10);
  EXPECT_FALSE(table.has_pending());
  EXPECT_EQ(table.release_holder(7).leases, 2u);
  EXPECT_EQ(table.release_holder(7).leases, 0u);
  EXPECT_EQ(table.grant(9, 1, 9, 0, 10).items.size(), 2u);
  EXPECT_EQ(table.accept(other.lease, all_of(other)).size(), 2u);
}

TEST(LeaseTable, ItemsThatALeaseDidNotBringBackAreLentAgain) {
  LeaseTable table(3, 1, {});
  const LeaseGrant grant = table.grant(0, 1, 3, 0, 10);
  table.accept(grant.lease, {verdict(1, 0)});
  const LeaseGrant rest = table.grant(1, 1, 3, 0, 10);
  ASSERT_EQ(rest.items.size(), 2u);
  EXPECT_EQ(rest.items[0].task, 0u);
  EXPECT_EQ(rest.items[1].task, 2u);
}

TEST(LeaseTable, VerdictsOutsideTheBenchmarkAreAnError) {
  LeaseTable table(2, 1, {});
  const LeaseGrant grant = table.grant(0, 1, 2, 0, 10);
  EXPECT_THROW(table.accept(grant.lease, {verdict(2, 0)}), Error);
  EXPECT_THROW(table.accept(grant.lease, {verdict(0, 1)}), Error);
}

TEST(LeaseTable, TextsGoWithTheirItemsUntilTheyHaveAVerdict) {
  LeaseTable table(2, 1, {});
  const LeaseGrant lost = table.grant(7, 1, 2, 0, 10);
  table.hand_in(7, lost.lease, {{0, 0, "a text", 3}});
  EXPECT_THROW(table.hand_in(8, lost.lease, {{1, 0, "not his", 3}}), Error);
  EXPECT_THROW(table.hand_in(7, lost.lease, {{1, 1, "nobody's", 3}}), Error);
  const LeaseTable::Released released = table.release_holder(7);
  EXPECT_EQ(released.leases, 1u);
  EXPECT_EQ(released.items, 2u);
  EXPECT_EQ(released.made, 1u);
  table.hand_in(7, lost.lease, {{1, 0, "late", 3}});  // of a lease that is no more
  const LeaseGrant again = table.grant(8, 1, 2, 0, 10);
  EXPECT_EQ(again.made, (std::vector<MadeText>{{0, 0, "a text", 3}}));
  table.accept(again.lease, {verdict(0, 0)});
  EXPECT_TRUE(table.grant(9, 1, 2, 0, 10).made.empty());
}

// Whatever is lost, late or repeated, every item ends done exactly once.
TEST(LeaseTable, SurvivesAnyOrderOfLosses) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    LeaseTable table(5, 3, {});
    std::vector<std::pair<std::uint32_t, LeaseGrant>> out;
    std::set<LeaseTable::Item> kept;
    std::int64_t now = 0;
    for (int step = 0; step < 10'000 && !table.complete(); ++step) {
      now += random() % 5;
      switch (random() % 5) {
        case 0:
          table.release_holder(random() % 3);
          break;
        case 1:
          table.expire(now);
          break;
        case 2:
        case 3: {
          const std::uint32_t rank = random() % 3;
          out.emplace_back(rank, table.grant(rank, 3, 1 + random() % 4, now, 20));
          break;
        }
        default:
          if (!out.empty()) {
            const auto& [rank, grant] = out[random() % out.size()];
            for (const Verdict& one : table.accept(grant.lease, all_of(grant)))
              EXPECT_TRUE(kept.emplace(one.task, one.sample).second) << "seed " << seed;
          }
      }
    }
    EXPECT_EQ(kept.size(), 15u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quench::coordinator
