#include "coordinator/store_server.h"

#include <utility>

#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

cluster::ReceptionOptions reception_options(std::string build) {
  cluster::ReceptionOptions options;
  options.build = std::move(build);
  return options;
}

}  // namespace

StoreServer::StoreServer(cluster::Loop& loop, ArtifactStore& store, std::string build,
                         StoreCommandRunner run_command)
    : store_(store),
      run_command_(std::move(run_command)),
      reception_(
          loop, no_gang_, reception_options(std::move(build)),
          [this](std::unique_ptr<cluster::Connection> connection, Hello, cluster::Transport) {
            admit(std::move(connection));
          },
          [](const Error&) {}),
      listener_(cluster::Listener::unix_socket(loop, store.socket_path(),
                                               [this](cluster::Socket socket, cluster::Transport transport) {
                                                 reception_.greet(std::move(socket), transport);
                                               })) {}

void StoreServer::admit(std::unique_ptr<cluster::Connection> connection) {
  const std::uint64_t id = next_reader_++;
  cluster::Connection& reader = *connection;
  readers_.emplace(id, std::move(connection));
  cluster::ConnectionHandlers handlers;
  handlers.on_message = [this, &reader](Message message, Bytes) {
    if (!answer(reader, message))
      throw Error(ErrorCode::bad_input, "a reader sent a message that only ranks send");
  };
  handlers.on_closed = [this, id](const Error&) { readers_.erase(id); };
  reader.set_handlers(std::move(handlers));
}

bool StoreServer::answer(cluster::Connection& peer, const Message& message) {
  try {
    if (const auto* request = std::get_if<ManifestRequest>(&message)) {
      const StoredObject object = store_.get_object(store_.resolve(request->ref));
      require_weights(object, request->ref);
      peer.send(ManifestReply{object.digest, decode_manifest(object.bytes)});
    } else if (const auto* chunk = std::get_if<ChunkRequest>(&message)) {
      peer.send(ChunkReply{chunk->digest}, store_.get_chunk(chunk->digest));
    } else if (const auto* command = std::get_if<StoreCommand>(&message)) {
      peer.send(run_command_(store_, *command));
    } else {
      return false;
    }
  } catch (const Error& error) {
    peer.send(RequestFailed{error.code(), error.what()});
  }
  return true;
}

}  // namespace quench::coordinator
