#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(GemmTallTile)
QUENCH_DEFINE_LAUNCH(GemmFlatTile)
QUENCH_DEFINE_LAUNCH(ExpandWeights)

}  // namespace quench::kernels::cuda
