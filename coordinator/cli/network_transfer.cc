#include "coordinator/cli/network_transfer.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/remote.h"
#include "coordinator/clock.h"
#include "coordinator/http/remote_store.h"
#include "coordinator/store_client.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// The far service, with the token of the environment.
ServiceAddress far_service(const std::string& url) {
  ServiceAddress address = in_context(url, [&] { return ServiceAddress::parse(url); });
  const ServiceAddress credentials = service_address("");
  address.token = credentials.token;
  address.authorities = credentials.authorities;
  return address;
}

// The near store as a source or a sink: opened, or through the service that holds it.
class NearStore {
 public:
  NearStore(const std::filesystem::path& directory, bool brings) {
    if (!owner_endpoint(directory)) {
      store_.emplace(ArtifactStore::open(directory, brings ? OpenMode::create : OpenMode::existing));
      return;
    }
    address_.socket = std::filesystem::absolute(directory) / "http.sock";
    if (!std::filesystem::is_socket(address_.socket))
      throw Error(ErrorCode::bad_input, directory.string() + " is at work for a job, and no service holds it: wait for the job's end, "
                                                            "or let `quench serve` hold the store");
  }
  std::unique_ptr<TransferSource> source() {
    if (store_) return std::make_unique<StoreSource>(*store_);
    return std::make_unique<RemoteSource>(address_);
  }
  std::unique_ptr<TransferSink> sink() {
    if (store_) return std::make_unique<StoreSink>(*store_);
    return std::make_unique<RemoteSink>(address_);
  }

 private:
  std::optional<ArtifactStore> store_;
  ServiceAddress address_;
};

}  // namespace

bool is_service(const std::string& place) { return place.find("://") != std::string::npos; }

std::optional<int> run_network_transfer(const std::filesystem::path& store, const std::vector<std::string>& words) {
  const bool pushes = !words.empty() && words[0] == "push", pulls = !words.empty() && words[0] == "pull";
  bool far = false;
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    far = far || ((words[i] == "--to" || words[i] == "--from") && is_service(words[i + 1]));
  if ((!pushes && !pulls) || !far) return std::nullopt;
  CLI::App app{"move an artifact between a store and a service", "quench artifacts " + words[0]};
  std::string ref, place, as;
  bool json = false;
  app.add_option("ref", ref, "name, digest or unique digest prefix")->required();
  app.add_option(pushes ? "--to" : "--from", place, "the service: https://HOST[:PORT], http://HOST:PORT, unix:///PATH")->required();
  app.add_option("--as", as, "its name in the receiving store; default: the name it has");
  app.add_flag("--json", json);
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::bad_input, app.get_name() + ": " + error.what());
  }
  NearStore near(store, pulls);
  const ServiceAddress service = far_service(place);
  const auto now_ms = static_cast<std::uint64_t>(unix_now_ms());
  Transferred done;
  if (pushes) {
    RemoteSink sink(service);
    done = transfer(*near.source(), sink, ref, as, now_ms);
  } else {
    RemoteSource source(service);
    done = transfer(source, *near.sink(), ref, as, now_ms);
  }
  std::cout << transferred_text(done, json);
  return 0;
}

}  // namespace quench::coordinator
