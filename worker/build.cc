#include "worker/build.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "schemas/build_id.h"
#include "schemas/error.h"

namespace quench::worker {

std::string build_name() { return kBuildId; }

int gpu_of_rank() {
  // A launcher that binds leaves each rank one GPU to see; without one, ranks beyond the GPUs share them.
  const int visible = std::max(1, kernels::cuda_device_count());
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_LOCAL_RANK", "SLURM_LOCALID"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    int rank = 0;
    const char* end = text + std::strlen(text);
    if (const auto parsed = std::from_chars(text, end, rank); parsed.ec == std::errc() && parsed.ptr == end)
      return rank % visible;
  }
  return 0;
}

std::unique_ptr<kernels::Backend> make_backend(int threads, const std::string& name) {
  std::string wanted = name;
  if (const char* forced = std::getenv("QUENCH_BACKEND"); name.empty() && forced != nullptr) wanted = forced;
  try {
    if (wanted == "cuda" || wanted == "cuda-exact")
      return kernels::make_cuda_backend({gpu_of_rank(), wanted == "cuda-exact", threads});
    kernels::CpuBackendOptions options;
    options.threads = threads;
    options.isa = wanted;
    return kernels::make_cpu_backend(options);
  } catch (const kernels::DeviceError& error) {
    throw Error(ErrorCode::bad_input, "backend " + wanted + ": " + error.what());
  } catch (const std::runtime_error& error) {
    std::string runnable;
    for (const std::string_view isa : kernels::runnable_isas())
      runnable += (runnable.empty() ? "" : ", ") + std::string(isa);
    if (kernels::cuda_device_count() > 0) runnable += ", cuda, cuda-exact";
    throw Error(ErrorCode::bad_input,
                std::string("backend: ") + error.what() + "; these run here: " + runnable);
  }
}

Hello describe_self(const std::string& backend, PeerRole role) {
  Hello hello;
  hello.build = build_name();
  hello.role = role;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  hello.host = host;
  hello.pid = ::getpid();
  hello.isa = backend;
  return hello;
}

}  // namespace quench::worker
