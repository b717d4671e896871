// The kernels of cpu/lanes/hessian.inl on scalar lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar/lanes.h"

#include "kernels/cpu/lanes/hessian.inl"
