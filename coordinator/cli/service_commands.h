// The command line of the service and of those who talk to it: serve, submit, status, watch, logs, cancel, retry,
// token. Declares them on the application and runs the one that was parsed.
#pragma once

#include <memory>
#include <optional>

namespace CLI {
class App;
}

namespace quench::coordinator {

class ServiceCommands {
 public:
  explicit ServiceCommands(CLI::App& app);
  ~ServiceCommands();
  ServiceCommands(const ServiceCommands&) = delete;
  ServiceCommands& operator=(const ServiceCommands&) = delete;

  // The exit code of the command that was parsed; nothing when it is none of these.
  std::optional<int> run();

 private:
  struct Parsed;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace quench::coordinator
