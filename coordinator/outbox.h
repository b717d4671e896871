// Everything the reactor can do to the world. The service implements it with sockets, the launcher
// and the store; tests implement it with lists.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/state.h"
#include "schemas/artifact.h"
#include "schemas/journal.h"
#include "schemas/messages.h"

namespace quench::coordinator {

class Outbox {
 public:
  virtual ~Outbox() = default;

  virtual void send(ConnectionId to, const Message& message) = 0;
  // Starts `ranks` processes which dial back with this attempt's number.
  virtual void start_gang(AttemptNumber attempt) = 0;
  // Takes over the gang that an earlier coordinator left, state.left_gang: its ranks dial back with the attempt's number.
  // False when nothing is left of it, as where gangs end with their coordinator.
  virtual bool adopt_gang() { return false; }
  // Ends every process of the gang; on_gang_exited follows.
  virtual void stop_gang(const std::string& reason) = 0;
  // Starts one evaluation worker which joins with this slot; on_evaluator_exited follows its end.
  virtual void start_evaluator(std::uint32_t slot) = 0;
  // Ends every evaluation worker that start_evaluator started.
  virtual void stop_evaluators(const std::string& reason) = 0;

  // Durable when it returns; the chunks must have been stored before. Throws Error.
  virtual void record(const quench::JournalEvent& event, const std::vector<Digest>& chunks) = 0;
  // Puts manifest, run record, name and the journal's ArtifactPublished in one atomic commit.
  // Returns the manifest's digest.
  virtual Digest publish(const std::string& name, const Manifest& manifest, const RunRecord& run,
                         std::uint32_t artifact) = 0;
  // What was kept before stays; returns the verdicts that contradict it. Durable soon, and before anything that is
  // recorded, published or kept after it; nobody is told that they are kept, so a crash costs their leases at most.
  virtual std::vector<Verdict> keep_verdicts(const Digest& evaluation,
                                             const std::vector<Verdict>& verdicts) = 0;
  // Durable when it returns. `evaluation` is kNoEvaluation for the quantizing of that artifact.
  virtual void keep_usage(std::uint32_t artifact, std::uint32_t evaluation, const PhaseUsage& usage) = 0;
  // The (task, sample) pairs that are kept under this evaluation.
  virtual std::set<LeaseTable::Item> kept_verdicts(const Digest& evaluation) = 0;

  // A line for people.
  virtual void tell(const std::string& line) = 0;
  // Progress of the current artifact or evaluation: `done` of `total` blocks or completions.
  virtual void show_progress(const std::string& what, std::uint32_t done, std::uint32_t total) = 0;
};

}  // namespace quench::coordinator
