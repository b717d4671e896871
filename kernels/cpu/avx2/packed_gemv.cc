// The kernels of cpu/lanes/packed_gemv.inl on avx2 lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx2/lanes.h"

#include "kernels/cpu/lanes/packed_gemv.inl"
