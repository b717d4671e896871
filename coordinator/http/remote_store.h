// A store that a service holds, as where artifacts move from and to (transfer.h).
#pragma once

#include <chrono>
#include <map>

#include "coordinator/http/client.h"
#include "coordinator/transfer.h"

namespace quench::coordinator {

// How long a service is waited for: what a break of the network or its restart cost is asked again, later and later.
struct Patience {
  int tries = 6;
  std::chrono::milliseconds first_pause{200};  // doubled each time
  std::chrono::seconds stall{180};             // for one answer; a chunk has 16 MiB at most
};

// Every call is one request. Throws as ask_service(); Error(corrupt) for an answer that is none or has another digest,
// Error(bad_input) for a service that does not know these requests, Error(unreachable) when patience ends.
class RemoteSource final : public TransferSource {
 public:
  explicit RemoteSource(ServiceAddress service, Patience patience = {}) : service_(std::move(service)), patience_(patience) {}
  int lanes() const override { return kLanesFar; }
  std::pair<Digest, std::string> resolve(const std::string& ref) override;
  std::optional<StoredObject> object(const Digest& digest) override;
  Bytes chunk(const Digest& digest) override;
  std::vector<std::string> names(const Digest& digest) override;
  std::vector<std::pair<std::string, Bytes>> records(const Digest& digest) override;

 private:
  struct Described {
    StoredObject object;
    std::vector<std::string> names;
    std::vector<std::pair<std::string, Bytes>> records;
  };
  // As the service told it the first time.
  const Described* described(const Digest& digest);

  ServiceAddress service_;
  Patience patience_;
  std::map<Digest, std::optional<Described>> described_;
};

class RemoteSink final : public TransferSink {
 public:
  explicit RemoteSink(ServiceAddress service, Patience patience = {}) : service_(std::move(service)), patience_(patience) {}
  int lanes() const override { return kLanesFar; }
  std::string description() override { return service_.to_string(); }
  std::vector<Digest> missing_chunks(std::span<const Digest> digests) override;
  void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) override;
  std::optional<Digest> find_ref(const std::string& name) override;
  // The service leaves those that it has.
  bool has_record(const std::string&) override { return false; }
  void publish(const Commit& commit) override;

 private:
  ServiceAddress service_;
  Patience patience_;
};

}  // namespace quench::coordinator
