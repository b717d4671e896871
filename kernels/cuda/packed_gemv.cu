#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {

QUENCH_DEFINE_LAUNCH(GemvChains)
QUENCH_DEFINE_LAUNCH(GemvSlicesDense1)
QUENCH_DEFINE_LAUNCH(GemvSlicesDense8)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ8x1)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ8x8)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ4x1)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ4x8)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ3x1)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ3x8)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ2x1)
QUENCH_DEFINE_LAUNCH(GemvSlicesQ2x8)

}  // namespace quench::kernels::cuda
