// The one socket type of Quench: TCP and Unix streams alike.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>

namespace quench::cluster {

using Loop = boost::asio::io_context;
using Socket = boost::asio::generic::stream_protocol::socket;

// How a peer reached us. On a Unix socket the kernel says who it is.
enum class Transport { tcp, unix_socket };

}  // namespace quench::cluster
