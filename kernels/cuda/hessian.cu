#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(HessianLeaf)
QUENCH_DEFINE_LAUNCH(FactorPanelBuild)
QUENCH_DEFINE_LAUNCH(FactorDiagonal)
QUENCH_DEFINE_LAUNCH(FactorBelow)
QUENCH_DEFINE_LAUNCH(PanelUpdate)
QUENCH_DEFINE_LAUNCH(SplitLeaf)
QUENCH_DEFINE_LAUNCH(AddLeafStrips)

}  // namespace quench::kernels::cuda
