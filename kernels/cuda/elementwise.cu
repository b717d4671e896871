#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(RmsNorm)
QUENCH_DEFINE_LAUNCH(Rope)
QUENCH_DEFINE_LAUNCH(SiluMultiply)
QUENCH_DEFINE_LAUNCH(AddRows)
QUENCH_DEFINE_LAUNCH(GatherColumns)
QUENCH_DEFINE_LAUNCH(Embed)
QUENCH_DEFINE_LAUNCH(ArgMax)
QUENCH_DEFINE_LAUNCH(LogSoftmax)
QUENCH_DEFINE_LAUNCH(ColumnExponents)
QUENCH_DEFINE_LAUNCH(FindNonFinite)
QUENCH_DEFINE_LAUNCH(WidenHalves)

}  // namespace quench::kernels::cuda
