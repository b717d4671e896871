#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(ToColumns)
QUENCH_DEFINE_LAUNCH(GridFit)
QUENCH_DEFINE_LAUNCH(SolveColumnsTile)
QUENCH_DEFINE_LAUNCH(FeedbackTall)
QUENCH_DEFINE_LAUNCH(FeedbackFlat)
QUENCH_DEFINE_LAUNCH(RoundColumns)
QUENCH_DEFINE_LAUNCH(FromColumns)
QUENCH_DEFINE_LAUNCH(GridsToRows)

}  // namespace quench::kernels::cuda
