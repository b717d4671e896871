// Two ends of a real socket on one loop, driven until something has happened.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "cluster/net/connection.h"

namespace quench::cluster::testing {

// One side of a Unix socket pair as the loop's socket, the other as a plain descriptor or a second socket.
inline std::pair<Socket, Socket> socket_pair(Loop& loop) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const boost::asio::generic::stream_protocol protocol(AF_UNIX, 0);
  return {Socket(loop, protocol, ends[0]), Socket(loop, protocol, ends[1])};
}

// Runs the loop until `done()`; false when that took longer than `limit`, which only a defect makes happen.
inline bool run_until(Loop& loop, const std::function<bool()>& done,
                      std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto until = std::chrono::steady_clock::now() + limit;
  loop.restart();
  while (!done()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    if (loop.run_one_for(std::chrono::milliseconds(100)) == 0) loop.restart();
  }
  return true;
}

// What a Connection told its owner.
struct Mailbox {
  std::vector<std::pair<Message, Bytes>> messages;
  std::optional<Error> closed;
  ConnectionHandlers handlers() {
    return {.on_message =
                [this](Message message, Bytes payload) {
                  messages.emplace_back(std::move(message), std::move(payload));
                },
            .on_closed = [this](const Error& reason) { closed = reason; }};
  }
};

}  // namespace quench::cluster::testing
