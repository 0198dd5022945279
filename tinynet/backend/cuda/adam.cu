// The step of Adam (optim/adam.py) over flat arrays, a thread for each parameter.

// 1 − βᵗ = −expm1(t ln β): in float32, 1 − powf(β, t) would lose four of seven digits at first.
__device__ __forceinline__ void update(float* value, const float* gradient, float* m, float* v, float keep1,
                                       float take1, float keep2, float take2, float log_beta1, float log_beta2,
                                       float lr, float t, float eps, float weight_decay, bool decoupled, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  float rate = lr / -expm1f(t * log_beta1), root = 1.0f / sqrtf(-expm1f(t * log_beta2));  // what (4) does to m and v
  float shrink = decoupled ? 1.0f - lr * weight_decay : 1.0f;
  float g = decoupled ? gradient[at] : gradient[at] + weight_decay * value[at];           // (1)
  float mean = keep1 * m[at] + take1 * g;
  float square = keep2 * v[at] + take2 * g * g;
  m[at] = mean;                                                                           // (2)
  v[at] = square;                                                                         // (3)
  value[at] = shrink * value[at] - rate * mean / (sqrtf(square) * root + eps);            // (5)
}

extern "C" __global__ void adam(float* __restrict__ value, const float* __restrict__ gradient, float* __restrict__ m,
                                float* __restrict__ v, float keep1, float take1, float keep2, float take2,
                                float log_beta1, float log_beta2, float lr, long long step, float eps,
                                float weight_decay, bool decoupled, int size) {
  update(value, gradient, m, v, keep1, take1, keep2, take2, log_beta1, log_beta2, lr, (float)step, eps, weight_decay,
         decoupled, size);
}

// The same, to the bit, with a rate and a step that lie on the device, for a captured graph.
extern "C" __global__ void adam_counted(float* __restrict__ value, const float* __restrict__ gradient,
                                        float* __restrict__ m, float* __restrict__ v, float keep1, float take1,
                                        float keep2, float take2, float log_beta1, float log_beta2,
                                        const float* __restrict__ lr, const long long* __restrict__ step, float eps,
                                        float weight_decay, bool decoupled, int size) {
  update(value, gradient, m, v, keep1, take1, keep2, take2, log_beta1, log_beta2, lr[0], (float)step[0], eps,
         weight_decay, decoupled, size);
}
