// The kernels of cpu/lanes/codebook.inl on avx512 lanes.
#include "kernels/cpu/codebook_table.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx512/lanes.h"

#include "kernels/cpu/lanes/codebook.inl"
