#include "coordinator/repository/names.h"

#include <set>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

Digest current(const ArtifactStore& store, const std::string& name) {
  const std::optional<Ref> ref = store.find_ref(name);
  return ref ? ref->object : Digest{};
}

std::string said(const Digest& digest) { return digest.is_none() ? "not set" : digest.short_hex(); }

}  // namespace

std::string tag_artifact(ArtifactStore& store, const std::string& ref, const std::string& name, const std::string& expected,
                         std::uint64_t now_ms) {
  const Digest digest = store.resolve(ref), before = current(store, name);
  Digest wanted = before;
  if (expected == "none") {
    wanted = Digest{};
  } else if (!expected.empty()) {
    wanted = store.resolve(expected);
  }
  if (before != wanted || before != digest)
    store.commit(Commit().expect_ref(name, wanted).set_ref(name, digest, now_ms));
  return name + "  " + digest.short_hex() + " (before: " + said(before) + ")\n";
}

std::string end_names(ArtifactStore& store, const std::vector<std::string>& names, std::uint64_t now_ms) {
  Commit commit;
  std::string text;
  for (const std::string& name : std::set<std::string>(names.begin(), names.end())) {
    const Digest before = current(store, name);
    if (before.is_none())
      throw Error(ErrorCode::bad_input, "there is no name " + name + " in " + store.directory().string() + ", and none was ended: `quench artifacts ls` lists them");
    commit.expect_ref(name, before).delete_ref(name, now_ms);
    text += name + "  ended (it meant " + before.short_hex() + "; `quench artifacts undo " + name + "` brings it back until gc)\n";
  }
  store.commit(commit);
  return text;
}

std::string undo_name(ArtifactStore& store, const std::string& name, std::size_t steps, std::uint64_t now_ms) {
  const std::vector<Ref> history = store.ref_history(name);
  if (history.size() < steps)
    throw Error(ErrorCode::bad_input, "the name " + name + " has changed " + std::to_string(history.size()) +
                                          " times, so " + std::to_string(steps) + " changes cannot be undone");
  const Digest now = history.back().object;
  const Digest before = history.size() == steps ? Digest{} : history[history.size() - 1 - steps].object;
  if (before == now) return name + "  " + said(now) + ", as it is\n";
  Commit commit;
  commit.expect_ref(name, now);
  if (before.is_none()) {
    commit.delete_ref(name, now_ms);
  } else {
    commit.set_ref(name, before, now_ms);
  }
  store.commit(commit);
  return name + "  " + said(before) + " (before: " + said(now) + ")\n";
}

}  // namespace quench::coordinator
