// Copies of up to 16 arrays of floats in one launch: copies.py. The elements of all arrays are counted through; `ends`
// are the counts at the end of each array.

struct Copies {
  long long sources[16], targets[16];  // addresses
  int ends[16];
};

extern "C" __global__ void copies(const float* first, const Copies all, int size) {
  (void)first;  // tells the launcher the device
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int i = 0;
  while (at >= all.ends[i]) i++;
  int place = at - (i ? all.ends[i - 1] : 0);
  reinterpret_cast<float*>(all.targets[i])[place] = reinterpret_cast<const float*>(all.sources[i])[place];
}
