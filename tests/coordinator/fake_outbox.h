// An Outbox that remembers. Messages go through the codec, as they would on the wire.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "coordinator/outbox.h"
#include "schemas/codec.h"

namespace quench::coordinator {

class FakeOutbox : public Outbox {
 public:
  void send(ConnectionId to, const Message& message) override {
    sent.emplace_back(to, decode_message(encode(message)));
  }
  void start_gang(AttemptNumber attempt) override { started.push_back(attempt.value); }
  bool adopt_gang() override {
    adoptions += 1;
    return gang_is_left;
  }
  void stop_gang(const std::string& reason) override { stopped.push_back(reason); }
  void start_evaluator(std::uint32_t slot) override { evaluators_started.push_back(slot); }
  void stop_evaluators(const std::string& reason) override { evaluators_stopped.push_back(reason); }
  void record(const quench::JournalEvent& event, const std::vector<Digest>& chunks) override {
    if (disk_full) throw Error(ErrorCode::failed, "no space left");
    journal.push_back(decode_journal_event(encode(event)));
    journal_chunks.push_back(chunks);
  }
  Digest publish(const std::string& name, const Manifest& manifest, const RunRecord& run,
                 std::uint32_t artifact) override {
    const Digest digest = manifest_digest(manifest);
    published[name] = manifest;
    runs.push_back(run);
    journal.push_back(ArtifactPublished{artifact, digest, run.quantize_seconds});
    return digest;
  }
  std::vector<Verdict> keep_verdicts(const Digest& evaluation,
                                     const std::vector<Verdict>& verdicts) override {
    if (disk_full) throw Error(ErrorCode::failed, "no space left");
    auto& kept = verdicts_kept[evaluation];
    std::vector<Verdict> contradicting;
    for (const Verdict& verdict : verdicts) {
      const auto first = std::find_if(kept.begin(), kept.end(), [&](const Verdict& one) {
        return one.task == verdict.task && one.sample == verdict.sample;
      });
      if (first == kept.end()) {
        kept.push_back(verdict);
      } else if (first->completion != verdict.completion || first->result != verdict.result) {
        contradicting.push_back(verdict);
      }
    }
    return contradicting;
  }
  void keep_usage(std::uint32_t artifact, std::uint32_t evaluation, const PhaseUsage& usage) override {
    usage_kept.emplace(std::pair(artifact, evaluation), usage);
  }
  std::set<LeaseTable::Item> kept_verdicts(const Digest& evaluation) override {
    std::set<LeaseTable::Item> items;
    for (const Verdict& verdict : verdicts_kept[evaluation]) items.emplace(verdict.task, verdict.sample);
    return items;
  }
  void tell(const std::string& line) override { lines.push_back(line); }
  void show_progress(const std::string&, std::uint32_t, std::uint32_t) override {}

  // The messages of one kind to one connection.
  template <typename Kind>
  std::vector<Kind> to(ConnectionId connection) const {
    std::vector<Kind> found;
    for (const auto& [id, message] : sent)
      if (const Kind* one = std::get_if<Kind>(&message); one != nullptr && id == connection)
        found.push_back(*one);
    return found;
  }

  bool disk_full = false;
  bool gang_is_left = false;
  int adoptions = 0;
  std::vector<std::pair<ConnectionId, Message>> sent;
  std::vector<std::uint32_t> started;
  std::vector<std::string> stopped;
  std::vector<std::uint32_t> evaluators_started;
  std::vector<std::string> evaluators_stopped;
  std::vector<quench::JournalEvent> journal;
  std::vector<std::vector<Digest>> journal_chunks;
  std::map<std::string, Manifest> published;
  std::vector<RunRecord> runs;
  std::map<Digest, std::vector<Verdict>> verdicts_kept;
  std::multimap<std::pair<std::uint32_t, std::uint32_t>, PhaseUsage> usage_kept;
  std::vector<std::string> lines;
};

}  // namespace quench::coordinator
