// The step of Adam (optim/adam.py) over flat arrays, a thread for each parameter.
#include "optional.h"

// Rate and number of the step are `lr` and `step`, or what lies on the device, which a captured graph sees change.
//
// 1 − βᵗ = −expm1(t ln β): in float32, 1 − powf(β, t) would lose four of seven digits at first.
extern "C" __global__ void adam(float* __restrict__ value, const float* __restrict__ gradient, float* __restrict__ m,
                                float* __restrict__ v, float keep1, float take1, float keep2, float take2,
                                float log_beta1, float log_beta2, float lr, const float* OR_NULL lr_there,
                                long long step, const long long* OR_NULL step_there, float eps, float weight_decay,
                                bool decoupled, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  if (lr_there) lr = lr_there[0];
  float t = (float)(step_there ? step_there[0] : step);
  float rate = lr / -expm1f(t * log_beta1), root = 1.0f / sqrtf(-expm1f(t * log_beta2));  // what (4) does to m and v
  float shrink = decoupled ? 1.0f - lr * weight_decay : 1.0f;
  float g = decoupled ? gradient[at] : gradient[at] + weight_decay * value[at];           // (1)
  float mean = keep1 * m[at] + take1 * g;
  float square = keep2 * v[at] + take2 * g * g;
  m[at] = mean;                                                                           // (2)
  v[at] = square;                                                                         // (3)
  value[at] = shrink * value[at] - rate * mean / (sqrtf(square) * root + eps);            // (5)
}
