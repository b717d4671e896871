#!/usr/bin/env bash
# Plants bugs in the reactors and around them, one at a time, and shows that the simulator finds each:
#   tests/simulation/planted_bugs.sh DIRECTORY [NUMBER...]
set -euo pipefail
. "$(dirname "$0")/../support/planted_bugs.sh"
targets=(simulation_test)
folder=
run_test() { timeout 300 "$tree/build/bin/simulation_test" --gtest_filter='*Whatever*'; }
found() {
  echo "in seed $(grep -oE '(SEED=|in seed )[0-9]+' "$work/test.log" | grep -oE '[0-9]+' | head -1):" \
    "$(grep -m1 -E '    Which is: "|invariant broken' "$work/test.log" | sed -E 's/^ *Which is: //')"
}
prepare

bug "the attempt number of a frame is ignored" cluster/net/frame.cc 's/if \(header\.attempt < ours\) return FrameAge::stale;/(void)ours;/; s/header\.attempt > ours \?/false ?/'
bug "a lost worker's leases are forgotten" coordinator/lease_table.cc 's/^      give_back\(lease->second\);$//'
bug "a lease that comes back incomplete loses the rest" coordinator/lease_table.cc 's/^    give_back\(rest\);$//'
bug "verdicts are counted though another had brought them" coordinator/lease_table.cc 's/if \(open_\.erase\(item\) == 0\) continue;/open_.erase(item);/'
bug "whoever waits does not hear of leases that come free" coordinator/fan_out.cc '/^void on_evaluator_lost/,/^}/ s/^    serve_evaluators\(state, outbox\);$//'
bug "a job resumes one block too early" coordinator/reactor.cc 's/order\.first_block = static_cast<std::uint32_t>\(progress\.blocks\.size\(\)\);/order.first_block = static_cast<std::uint32_t>(progress.blocks.empty() ? 0 : progress.blocks.size() - 1);/'
bug "a block is acknowledged before it is durable" coordinator/reactor.cc '/^void on_block_done/,/^}/ s/^  outbox\.record\(block, chunks_of\(done\.tensors, \{\}\)\);$//'
bug "an evaluation is finished before its last verdicts" coordinator/fan_out.cc 's/evaluation\.complete = evaluation\.leases->complete\(\);/evaluation.complete = !evaluation.leases->has_pending();/'
bug "a rank of an older gang is let in" cluster/net/handshake.cc 's/if \(!trusted \&\& !equal_constant_time\(hello\.proof, hello_proof\(roster\.secret.*$/if (false)/; s/if \(attempt != roster\.attempt\(\)\)/if (false)/'
bug "a process that ended before its connection is waited for" coordinator/fan_out.cc '/^void tick_evaluators/,/^}/ s/^      settle_exit\(state, outbox, evaluator\.slot\);$//'
finish
