#include "worker/build.h"

#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "schemas/build_id.h"
#include "schemas/error.h"

namespace quench::worker {

std::string build_name() { return kBuildId; }

std::unique_ptr<kernels::Backend> make_backend(int threads, const std::string& name) {
  kernels::CpuBackendOptions options;
  options.threads = threads;
  options.isa = name;
  if (const char* forced = std::getenv("QUENCH_BACKEND"); name.empty() && forced != nullptr)
    options.isa = forced;
  try {
    return kernels::make_cpu_backend(options);
  } catch (const std::runtime_error& error) {
    std::string runnable;
    for (const std::string_view isa : kernels::runnable_isas())
      runnable += (runnable.empty() ? "" : ", ") + std::string(isa);
    throw Error(ErrorCode::bad_input,
                std::string("backend: ") + error.what() + "; these run here: " + runnable);
  }
}

Hello describe_self(const kernels::Backend& backend, PeerRole role) {
  Hello hello;
  hello.build = build_name();
  hello.role = role;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  hello.host = host;
  hello.pid = ::getpid();
  hello.isa = backend.name();
  return hello;
}

}  // namespace quench::worker
