// What /metrics says, in the OpenMetrics text format. Event-loop thread.
#pragma once

#include <string>

#include "coordinator/daemon.h"
#include "coordinator/http/server.h"

namespace quench::coordinator {

// `server`: null when nobody listens.
std::string metrics_text(const Daemon& daemon, const HttpServer* server);

}  // namespace quench::coordinator
