// What a backend's products are of while a recipe or an evaluation is at work (JobSpec's "arithmetic").
#pragma once

#include "kernels/backend.h"
#include "schemas/job_spec.h"

namespace quench::worker {

// Throws Error(bad_input) where the backend has no such products: never another arithmetic in place of the one asked for.
void set_arithmetic(kernels::Backend& backend, Arithmetic arithmetic);

// The same as long as it lives, fp32 afterwards.
class ArithmeticScope {
 public:
  ArithmeticScope(kernels::Backend& backend, Arithmetic arithmetic) : backend_(backend) { set_arithmetic(backend, arithmetic); }
  ~ArithmeticScope();
  ArithmeticScope(const ArithmeticScope&) = delete;
  ArithmeticScope& operator=(const ArithmeticScope&) = delete;

 private:
  kernels::Backend& backend_;
};

}  // namespace quench::worker
