// The floating point environment that exactness rests on.
#pragma once

#include <cfenv>
#include <cfloat>

#if FLT_EVAL_METHOD != 0
#error "floats must be evaluated as floats: compile for a processor with SSE2 or better"
#endif

namespace p2pinfer {

// While one lives, its thread rounds to nearest and keeps denormals, whatever another library of the
// process has set (some flush denormals to zero for everyone).
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
