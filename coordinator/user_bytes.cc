#include "coordinator/user_bytes.h"

#include "coordinator/job_opening.h"
#include "coordinator/store/open_publishes.h"
#include "schemas/codec.h"

namespace quench::coordinator {

std::uint64_t bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const ChunkRef& chunk : chunks_of(manifest)) bytes += chunk.bytes;
  return bytes;
}

const std::vector<Digest>& UserBytes::artifacts_of(const UserWork::EndedJob& job) {
  const auto [found, fresh] = artifacts_.try_emplace(job);
  if (!fresh) return found->second;
  if (const std::optional<State> state = find_job(store_, job.id))
    for (const ArtifactProgress& artifact : state->artifacts)
      if (artifact.published) found->second.push_back(*artifact.published);
  return found->second;
}

std::uint64_t UserBytes::bytes_of(const Digest& artifact) {
  const auto [found, fresh] = bytes_.try_emplace(artifact, 0);
  if (fresh) found->second = coordinator::bytes_of(decode_manifest(store_.get_object(artifact).bytes));
  return found->second;
}

std::uint64_t UserBytes::published(const UserWork& work) {
  const std::lock_guard lock(mutex_);
  std::set<Digest> own = work.named;
  for (const UserWork::EndedJob& job : work.ended_jobs)
    for (const Digest& digest : artifacts_of(job)) own.insert(digest);
  if (own.empty()) return 0;
  std::set<Digest> kept;
  for (const Ref& ref : store_.list_refs()) kept.insert(ref.object);
  std::uint64_t bytes = 0;
  for (const Digest& digest : own)
    if (kept.contains(digest)) bytes += bytes_of(digest);
  return bytes;
}

std::uint64_t UserBytes::uploaded(const std::string& user, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = uploads_.find(user);
  if (found == uploads_.end()) return 0;
  if (now - found->second.last < OpenPublishes::kGivenUp) return found->second.bytes;
  uploads_.erase(found);
  return 0;
}

void UserBytes::on_upload(const std::string& user, std::uint64_t bytes, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  Upload& upload = uploads_[user];
  upload.bytes += bytes;
  upload.last = now;
}

void UserBytes::on_publish(const std::string& user) {
  const std::lock_guard lock(mutex_);
  uploads_.erase(user);
}

}  // namespace quench::coordinator
