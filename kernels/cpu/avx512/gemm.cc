// The kernels of cpu/lanes/gemm.inl on avx512 lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx512/lanes.h"

#include "kernels/cpu/lanes/gemm.inl"
