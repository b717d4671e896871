#include "worker/model/arithmetic.h"

#include "schemas/error.h"

namespace quench::worker {

void set_arithmetic(kernels::Backend& backend, Arithmetic arithmetic) {
  if (backend.set_products(arithmetic == Arithmetic::bf16 ? kernels::Products::bf16 : kernels::Products::fp32)) return;
  throw Error(ErrorCode::bad_input, "arithmetic bf16: the backend " + std::string(backend.name()) +
                                        " has no products of bf16, only the CPU's have; take one of those (--backend, QUENCH_BACKEND), or "
                                        "leave \"arithmetic\" out");
}

ArithmeticScope::~ArithmeticScope() {
  const bool is_fp32 = backend_.set_products(kernels::Products::fp32);
  QUENCH_CHECK(is_fp32, is_fp32);
}

}  // namespace quench::worker
