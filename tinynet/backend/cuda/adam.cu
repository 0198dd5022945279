// The step of Adam, optim/adam.py. The layout stands in adam.py.
#include "optional.h"

// --- Equations -------------------------------------------------------------------------------------------------------

struct Options { float keep1, take1, keep2, take2, log_beta1, log_beta2, eps, weight_decay; bool decoupled; };

// One parameter and its moments at step t. 1 − βᵗ is computed as −expm1(t ln β): in float32, 1 − powf(β, t) would lose
// four of seven digits in the first steps.
__device__ __forceinline__ void update(float& value, float gradient, float& m, float& v, float lr, float t,
                                       Options options) {
  float rate = lr / -expm1f(t * options.log_beta1), root = 1.0f / sqrtf(-expm1f(t * options.log_beta2));   // (4)
  float shrink = options.decoupled ? 1.0f - lr * options.weight_decay : 1.0f;                              // (1)
  float g = options.decoupled ? gradient : gradient + options.weight_decay * value;                        // (1)
  m = options.keep1 * m + options.take1 * g;                                                               // (2)
  v = options.keep2 * v + options.take2 * g * g;                                                           // (3)
  value = shrink * value - rate * m / (sqrtf(v) * root + options.eps);                                     // (5)
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A thread takes one parameter. The rate and the number of the step are `lr` and `step`, or are read from the device: a
// recorded launch then sees them change.

extern "C" __global__ void adam(float* __restrict__ value, const float* __restrict__ gradient, float* __restrict__ m,
                                float* __restrict__ v, float lr, const float* OR_NULL lr_there, long long step,
                                const long long* OR_NULL step_there, Options options, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  update(value[at], gradient[at], m[at], v[at], lr_there ? lr_there[0] : lr,
         (float)(step_there ? step_there[0] : step), options);
}
