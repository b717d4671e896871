// The kernels of cpu/lanes/brain_dot.inl on avx512 lanes with AVX512-BF16, which lanes.h sees by its flag.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx512/lanes.h"

#define QUENCH_FILL_BRAIN_DOT fill_brain_dot_bf16
#include "kernels/cpu/lanes/brain_dot.inl"
