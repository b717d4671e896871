// RocksDB's log, forwarded to a LogSink. RocksDB's own file logger aborts the process on a full disk
// in builds with assertions, Debian's among them; with this one it has no log file at all.
#pragma once

#include <memory>

#include "coordinator/store/log_sink.h"

namespace rocksdb {
class Logger;
}

namespace quench::coordinator {

// A logger for one database. Without a sink it drops every line. Shared because RocksDB keeps a
// second owner until its last background thread is done.
std::shared_ptr<rocksdb::Logger> make_database_log(LogSink sink);

}  // namespace quench::coordinator
