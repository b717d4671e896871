// Where RocksDB's log lines go.
#pragma once

#include <functional>
#include <string_view>

namespace quench::coordinator {

enum class LogLevel { debug, info, warning, error };
// Receives one line, from any thread, possibly in parallel; must not throw.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

}  // namespace quench::coordinator
