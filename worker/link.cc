#include "worker/link.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <utility>

namespace quench::worker {

Link::Link(const cluster::Endpoint& coordinator, const Hello& hello, const cluster::DialOptions& options)
    : connection_(std::move(cluster::dial(loop_, coordinator, hello, options).connection)) {}

void Link::begin(cluster::ConnectionHandlers handlers) {
  connection_->set_handlers(std::move(handlers));
  thread_ = std::thread([this] {
    const auto guard = boost::asio::make_work_guard(loop_);
    loop_.restart();
    loop_.run();
  });
}

Link::~Link() {
  if (!thread_.joinable()) return;
  boost::asio::post(loop_, [this] {
    connection_.reset();
    loop_.stop();
  });
  thread_.join();
}

}  // namespace quench::worker
