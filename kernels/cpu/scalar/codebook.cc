// The kernels of cpu/lanes/codebook.inl on scalar lanes.
#include "kernels/cpu/codebook_table.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar/lanes.h"

#include "kernels/cpu/lanes/codebook.inl"
