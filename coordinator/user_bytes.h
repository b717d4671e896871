// How many bytes of artifacts a user has in a service's store, for the service's bytesPerUserMax. An artifact is his when one of
// his jobs published it or he gave it a name, as long as any name keeps it; each counts once, whatever it shares with others.
// What he uploads counts until he publishes it. Any thread; every method locks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// What of a user is looked at.
struct UserWork {
  struct EndedJob {
    Digest id;
    std::int64_t ended_ms = 0;  // it may be tried again, and end again
    auto operator<=>(const EndedJob&) const = default;
  };
  std::vector<EndedJob> ended_jobs;  // those that wait or work count as what they plan to publish
  std::set<Digest> named;            // artifacts
};

// Of all chunks that a manifest names.
std::uint64_t bytes_of(const Manifest& manifest);

class UserBytes {
 public:
  using Clock = std::chrono::steady_clock;
  explicit UserBytes(const ArtifactStore& store) : store_(store) {}

  std::uint64_t published(const UserWork& work);

  // What was uploaded and not published yet; given up as the store gives it up.
  std::uint64_t uploaded(const std::string& user, Clock::time_point now = Clock::now());
  void on_upload(const std::string& user, std::uint64_t bytes, Clock::time_point now = Clock::now());
  void on_publish(const std::string& user);

 private:
  const std::vector<Digest>& artifacts_of(const UserWork::EndedJob& job);
  std::uint64_t bytes_of(const Digest& artifact);

  struct Upload {
    std::uint64_t bytes = 0;
    Clock::time_point last;
  };
  const ArtifactStore& store_;
  std::mutex mutex_;
  std::map<UserWork::EndedJob, std::vector<Digest>> artifacts_;
  std::map<Digest, std::uint64_t> bytes_;  // by artifact
  std::map<std::string, Upload> uploads_;
};

}  // namespace quench::coordinator
