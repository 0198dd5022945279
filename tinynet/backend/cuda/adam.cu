// The step of Adam (optim/adam.py) over flat arrays, a thread for each parameter.

// `rate` is lr / (1 − β₁ᵗ) and `root` is 1 / √(1 − β₂ᵗ): what (4) does to m and v.
__device__ __forceinline__ void update(float* value, const float* gradient, float* m, float* v, float keep1,
                                       float take1, float keep2, float take2, float rate, float root, float eps,
                                       float shrink, float decay, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  float g = gradient[at] + decay * value[at];                                     // (1)
  float mean = keep1 * m[at] + take1 * g;
  float square = keep2 * v[at] + take2 * g * g;
  m[at] = mean;                                                                   // (2)
  v[at] = square;                                                                 // (3)
  value[at] = shrink * value[at] - rate * mean / (sqrtf(square) * root + eps);    // (5)
}

extern "C" __global__ void adam(float* __restrict__ value, const float* __restrict__ gradient, float* __restrict__ m,
                                float* __restrict__ v, float keep1, float take1, float keep2, float take2, float rate,
                                float root, float eps, float shrink, float decay, int size) {
  update(value, gradient, m, v, keep1, take1, keep2, take2, rate, root, eps, shrink, decay, size);
}

// The same, with a step that the device counts, and a learning rate that may change there, for a captured graph.
// 1 − βᵗ = −expm1(t ln β): in float32, 1 − powf(β, t) would lose four of seven digits at first.
extern "C" __global__ void adam_counted(float* __restrict__ value, const float* __restrict__ gradient,
                                        float* __restrict__ m, float* __restrict__ v, float keep1, float take1,
                                        float keep2, float take2, const float* __restrict__ lr,
                                        const long long* __restrict__ step, float log_beta1, float log_beta2, float eps,
                                        float weight_decay, bool decoupled, int size) {
  float t = (float)step[0];
  float rate = lr[0] / -expm1f(t * log_beta1), root = 1.0f / sqrtf(-expm1f(t * log_beta2));
  update(value, gradient, m, v, keep1, take1, keep2, take2, rate, root, eps,
         decoupled ? 1.0f - lr[0] * weight_decay : 1.0f, decoupled ? 0.0f : weight_decay, size);
}
