#include "coordinator/store_client.h"

#include <unistd.h>

#include <chrono>

#include "cluster/net/endpoint.h"
#include "cluster/net/handshake.h"
#include "schemas/build_id.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::chrono::milliseconds kConnectDeadline{2'000};

}  // namespace

std::optional<std::string> owner_endpoint(const std::filesystem::path& directory) {
  const std::filesystem::path socket = std::filesystem::absolute(directory) / "quench.sock";
  if (!std::filesystem::is_socket(socket)) return std::nullopt;
  cluster::Endpoint endpoint;
  endpoint.transport = cluster::Transport::unix_socket;
  endpoint.path = socket;
  try {
    cluster::Loop loop;
    cluster::connect(loop, endpoint, kConnectDeadline);
    return endpoint.to_string();
  } catch (const Error&) {
    return std::nullopt;  // left behind by a process that was killed
  }
}

StoreReply ask_owner(const std::string& endpoint, const StoreCommand& command) {
  cluster::Loop loop;
  Hello hello;
  hello.build = kBuildId;
  hello.role = PeerRole::reader;
  hello.pid = ::getpid();
  cluster::DialOptions options;
  options.deadline = kConnectDeadline;
  cluster::Dialed dialed = cluster::dial(loop, cluster::Endpoint::parse(endpoint), hello, options);
  std::optional<StoreReply> reply;
  std::optional<Error> failure;
  cluster::ConnectionHandlers handlers;
  handlers.on_message = [&](Message message, Bytes) {
    if (auto* answer = std::get_if<StoreReply>(&message)) reply = std::move(*answer);
    if (const auto* failed = std::get_if<RequestFailed>(&message))
      failure = Error(failed->code, failed->message);
    loop.stop();
  };
  handlers.on_closed = [&](const Error& reason) {
    failure = reason;
    loop.stop();
  };
  dialed.connection->set_handlers(std::move(handlers));
  dialed.connection->send(command);
  loop.restart();
  loop.run();
  if (failure) throw Error(*failure);
  QUENCH_CHECK(reply.has_value());
  return *reply;
}

}  // namespace quench::coordinator
