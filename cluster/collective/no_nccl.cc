#include "cluster/collective/nccl_link.h"

namespace quench::cluster {
namespace {

Error no_nccl() {
  return Error(ErrorCode::bad_input,
               "this build has no NCCL: nccl.h was not found beside CUDA when it was configured; install NCCL and build "
               "again, or let the ranks talk MPI");
}

}  // namespace

Bytes make_nccl_id() { throw no_nccl(); }
std::unique_ptr<NcclLink> make_nccl_link(std::span<const std::uint8_t>, std::uint32_t, std::uint32_t, int, std::size_t) {
  throw no_nccl();
}
bool has_nccl() { return false; }

}  // namespace quench::cluster
