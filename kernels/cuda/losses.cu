#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(LossProducts)
QUENCH_DEFINE_LAUNCH(LossFold)
QUENCH_DEFINE_LAUNCH(LowerStrip)
QUENCH_DEFINE_LAUNCH(EnergyFold)
QUENCH_DEFINE_LAUNCH(DampedLosses)

}  // namespace quench::kernels::cuda
