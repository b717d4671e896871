#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(AppendKv)
QUENCH_DEFINE_LAUNCH(AttentionScoresTall)
QUENCH_DEFINE_LAUNCH(AttentionScoresFlat)
QUENCH_DEFINE_LAUNCH(AttentionSoftmax)
QUENCH_DEFINE_LAUNCH(AttentionValuesTall)
QUENCH_DEFINE_LAUNCH(AttentionValuesFlat)

}  // namespace quench::kernels::cuda
