// The kernels of cpu/lanes/gptq.inl on avx2 lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx2/lanes.h"

#include "kernels/cpu/lanes/gptq.inl"
