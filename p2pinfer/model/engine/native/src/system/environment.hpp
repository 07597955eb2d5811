// The floating point environment that exactness needs.
#pragma once

#include <cfenv>
#include <cfloat>

#if FLT_EVAL_METHOD != 0
#error "floats must be evaluated as floats: compile for a processor with SSE2 or better"
#endif

namespace p2pinfer {

// While an object lives, its thread rounds to nearest and keeps denormals. Other libraries of the process
// may have changed that: some flush denormals to zero in every thread.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatingPoint() { std::fesetenv(&before_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace p2pinfer
