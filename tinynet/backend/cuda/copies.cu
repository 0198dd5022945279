// Copies of up to 16 arrays of floats in one launch: copies.py. `end` counts the elements up to the end of each array.

struct Copies {
  long long from0, from1, from2, from3, from4, from5, from6, from7, from8, from9, from10, from11, from12, from13, from14, from15;
  long long to0, to1, to2, to3, to4, to5, to6, to7, to8, to9, to10, to11, to12, to13, to14, to15;
  int end0, end1, end2, end3, end4, end5, end6, end7, end8, end9, end10, end11, end12, end13, end14, end15;
};

extern "C" __global__ void copies(const float* first, const Copies all, int size) {
  (void)first;  // tells the launcher the device
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  const long long *from = &all.from0, *to = &all.to0;
  const int* end = &all.end0;
  int i = 0;
  while (at >= end[i]) i++;
  int place = at - (i ? end[i - 1] : 0);
  reinterpret_cast<float*>(to[i])[place] = reinterpret_cast<const float*>(from[i])[place];
}
