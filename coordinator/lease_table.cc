#include "coordinator/lease_table.h"

#include <algorithm>
#include <string>

#include "schemas/error.h"

namespace quench::coordinator {

LeaseTable::LeaseTable(std::uint32_t tasks, std::uint32_t samples, const std::set<Item>& done)
    : tasks_(tasks), samples_(samples), total_(tasks * samples), done_(0) {
  // Sample by sample, so that an interrupted evaluation has whole passes over the tasks first.
  for (std::uint32_t sample = 0; sample < samples; ++sample)
    for (std::uint32_t task = 0; task < tasks; ++task) {
      const Item item{task, sample};
      if (done.count(item) != 0) {
        ++done_;
      } else {
        pending_.push_back(item);
        open_.insert(item);
      }
    }
}

bool LeaseTable::has_pending() {
  // A late verdict may have finished items while they waited to be lent again.
  while (!pending_.empty() && open_.count(pending_.front()) == 0) pending_.pop_front();
  return !pending_.empty();
}

LeaseGrant LeaseTable::grant(std::uint64_t holder, std::uint32_t holders, std::uint32_t items_max,
                             std::int64_t now_ms, std::int64_t deadline_ms) {
  LeaseGrant grant;
  if (!has_pending() || items_max == 0) return grant;
  holders = std::max<std::uint32_t>(holders, 1);
  const std::size_t share = (pending_.size() + holders - 1) / holders;
  const std::size_t count = std::min<std::size_t>(items_max, std::max<std::size_t>(share, 1));
  Lease lease{holder, now_ms + deadline_ms, {}};
  while (lease.items.size() < count && !pending_.empty()) {
    const Item item = pending_.front();
    pending_.pop_front();
    if (open_.count(item) == 0) continue;
    lease.items.push_back(item);
    grant.items.push_back({item.first, item.second});
    if (const auto text = made_.find(item); text != made_.end()) grant.made.push_back(text->second);
  }
  if (lease.items.empty()) return grant;
  grant.lease = LeaseId{next_lease_++};
  grant.deadline_ms = static_cast<std::uint32_t>(deadline_ms);
  leases_.emplace(grant.lease.value, std::move(lease));
  return grant;
}

std::vector<Verdict> LeaseTable::accept(LeaseId lease, std::vector<Verdict> verdicts) {
  std::vector<Verdict> wanted;
  std::set<Item> returned;
  for (Verdict& verdict : verdicts) {
    const Item item{verdict.task, verdict.sample};
    if (verdict.task >= tasks_ || verdict.sample >= samples_)
      throw Error(ErrorCode::bad_input, "a verdict names task " + std::to_string(verdict.task) + ", sample " +
                                            std::to_string(verdict.sample) + ", which no lease can hold");
    returned.insert(item);
    if (open_.erase(item) == 0) continue;
    made_.erase(item);
    ++done_;
    wanted.push_back(std::move(verdict));
  }
  if (const auto found = leases_.find(lease.value); found != leases_.end()) {
    Lease rest = std::move(found->second);
    leases_.erase(found);
    std::erase_if(rest.items, [&](const Item& item) { return returned.count(item) != 0; });
    give_back(rest);
  }
  return wanted;
}

void LeaseTable::hand_in(std::uint64_t holder, LeaseId lease, std::vector<MadeText> made) {
  const auto found = leases_.find(lease.value);
  if (found == leases_.end()) return;
  for (MadeText& text : made) {
    const Item item{text.task, text.sample};
    const std::vector<Item>& items = found->second.items;
    if (found->second.holder != holder || std::find(items.begin(), items.end(), item) == items.end())
      throw Error(ErrorCode::bad_input, "a text names task " + std::to_string(text.task) + ", sample " +
                                            std::to_string(text.sample) + ", which is not in its lease");
    if (open_.count(item) != 0) made_.emplace(item, std::move(text));
  }
}

template <typename Condition>
LeaseTable::Released LeaseTable::release_if(Condition condition) {
  Released released;
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    if (condition(lease->second)) {
      give_back(lease->second);
      ++released.leases;
      released.items += static_cast<std::uint32_t>(lease->second.items.size());
      for (const Item& item : lease->second.items) released.made += static_cast<std::uint32_t>(made_.count(item));
      lease = leases_.erase(lease);
    } else {
      ++lease;
    }
  }
  return released;
}

std::size_t LeaseTable::held() const {
  std::size_t held = pending_.size();
  for (const auto& [id, lease] : leases_) held += lease.items.size();
  return held;
}

void LeaseTable::give_back(const Lease& lease) {
  for (auto item = lease.items.rbegin(); item != lease.items.rend(); ++item)
    if (open_.count(*item) != 0) pending_.push_front(*item);
}

void LeaseTable::renew(LeaseId lease, std::int64_t now_ms, std::int64_t deadline_ms) {
  if (const auto found = leases_.find(lease.value); found != leases_.end())
    found->second.deadline_ms = now_ms + deadline_ms;
}

LeaseTable::Released LeaseTable::release_holder(std::uint64_t holder) {
  return release_if([&](const Lease& lease) { return lease.holder == holder; });
}

std::uint32_t LeaseTable::expire(std::int64_t now_ms) {
  return release_if([&](const Lease& lease) { return lease.deadline_ms <= now_ms; }).leases;
}

}  // namespace quench::coordinator
