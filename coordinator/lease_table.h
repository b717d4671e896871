// Loans of evaluation work: (task, sample) items go to evaluation workers under deadlines, come back as
// verdicts, or return to the queue when their holder is lost or late. Pure data; event-loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/ids.h"
#include "schemas/messages.h"

namespace quench::coordinator {

class LeaseTable {
 public:
  using Item = std::pair<std::uint32_t, std::uint32_t>;  // task, sample

  // All tasks × samples except those in `done`.
  LeaseTable(std::uint32_t tasks, std::uint32_t samples, const std::set<Item>& done);

  // Lends up to `items_max` items to `holder`, one of `holders`; empty when all items are lent or done. One
  // holder never gets more than its share of what is left, so that none ends long after the others. A
  // holder may have several leases.
  LeaseGrant grant(std::uint64_t holder, std::uint32_t holders, std::uint32_t items_max, std::int64_t now_ms,
                   std::int64_t deadline_ms);
  // Keeps what the holder of a lease has generated of it, for whoever gets these items when the holder is lost. Nothing
  // happens when the lease is no more; texts of another's lease or of items that it does not hold throw Error(bad_input).
  void hand_in(std::uint64_t holder, LeaseId lease, std::vector<MadeText> made);
  // The lease's deadline begins anew; nothing happens when it is no more.
  void renew(LeaseId lease, std::int64_t now_ms, std::int64_t deadline_ms);
  // Takes back a lease's verdicts: returns those that were still wanted. A late lease whose items
  // were finished by another holder gives none; items that are lent again are accepted from whoever
  // comes first. Verdicts of items that no lease ever held throw Error(bad_input).
  std::vector<Verdict> accept(LeaseId lease, std::vector<Verdict> verdicts);
  struct Released {
    std::uint32_t leases = 0;
    std::uint32_t items = 0;
    std::uint32_t made = 0;  // items with a text: they need only be executed
  };
  // Returns a lost holder's items to the queue.
  Released release_holder(std::uint64_t holder);
  // Returns the items of leases whose deadline passed to the queue; how many leases that were.
  std::uint32_t expire(std::int64_t now_ms);

  bool complete() const { return done_ == total_; }
  // Something can be lent.
  bool has_pending();
  std::uint32_t done() const { return done_; }
  std::uint32_t total() const { return total_; }
  // Items that wait or are lent: each that is not done, and none twice.
  std::size_t held() const;

 private:
  struct Lease {
    std::uint64_t holder = 0;
    std::int64_t deadline_ms = 0;
    std::vector<Item> items;
  };
  void give_back(const Lease& lease);
  template <typename Condition>
  Released release_if(Condition condition);

  std::uint32_t tasks_;
  std::uint32_t samples_;
  std::uint32_t total_;
  std::uint32_t done_;
  std::deque<Item> pending_;
  std::set<Item> open_;  // not done: pending or lent
  std::map<Item, MadeText> made_;  // of items that are not done
  std::map<std::uint64_t, Lease> leases_;
  std::uint64_t next_lease_ = 1;
};

}  // namespace quench::coordinator
