// The kernels of cpu/lanes/brain_dot.inl on avx512 lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx512/lanes.h"

#define QUENCH_FILL_BRAIN_DOT fill_brain_dot
#include "kernels/cpu/lanes/brain_dot.inl"
