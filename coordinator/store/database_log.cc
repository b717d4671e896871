#include "coordinator/store/database_log.h"

#include <rocksdb/env.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace quench::coordinator {
namespace {

// Longer lines are cut; RocksDB's option dumps are the only ones that come near.
constexpr std::size_t kLineBytesMax = 2048;

LogLevel level_of(rocksdb::InfoLogLevel level) {
  switch (level) {
    case rocksdb::DEBUG_LEVEL:
      return LogLevel::debug;
    case rocksdb::WARN_LEVEL:
      return LogLevel::warning;
    case rocksdb::ERROR_LEVEL:
    case rocksdb::FATAL_LEVEL:
      return LogLevel::error;
    default:
      return LogLevel::info;
  }
}

class DatabaseLog final : public rocksdb::Logger {
 public:
  explicit DatabaseLog(LogSink sink) : rocksdb::Logger(rocksdb::INFO_LEVEL), sink_(std::move(sink)) {}

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override { Logv(rocksdb::INFO_LEVEL, format, arguments); }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (!sink_ || level < GetInfoLogLevel()) return;
    std::array<char, kLineBytesMax> line;
    const int written = std::vsnprintf(line.data(), line.size(), format, arguments);
    if (written <= 0) return;
    std::size_t length = std::min<std::size_t>(static_cast<std::size_t>(written), line.size() - 1);
    while (length > 0 && line[length - 1] == '\n') --length;
    sink_(level_of(level), {line.data(), length});
  }

 private:
  LogSink sink_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> make_database_log(LogSink sink) {
  return std::make_shared<DatabaseLog>(std::move(sink));
}

}  // namespace quench::coordinator
