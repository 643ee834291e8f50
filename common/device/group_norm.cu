#include "common/device/group_norm_cuda.h"
#include "common/device/kernel_numbers.cuh"

#include <cuda_runtime_api.h>

#include <algorithm>

namespace nabla {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kWantedBlocks = 1024, kLeastChunk = 8, kLargestChunk = 256;

// What a kernel knows of its work. A block is `lanes` x `pixel rows` threads: neighbouring lanes take neighbouring channels, kVector each.
struct Work {
  std::int64_t pixels, chunk;
  int channels, groups, width, chunks;
};

template <class T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T values[kVector];
};

template <class T, int kVector>
__device__ Pack<T, kVector> load(const T* source) {
  return *reinterpret_cast<const Pack<T, kVector>*>(source);
}

__device__ float sigmoid(float z) { return 1.0f / (1.0f + __expf(-z)); }

template <Activation activation>
__device__ float activate(float z) {
  return activation == Activation::kSilu ? z * sigmoid(z) : z;
}

// d activation(z) / dz.
template <Activation activation>
__device__ float slope(float z) {
  if (activation == Activation::kNone) return 1.0f;
  const float s = sigmoid(z);
  return s * (1.0f + z * (1.0f - s));
}

// visit(first channel, element of the row) for every pack of the block's chunk that this thread takes; `begin` and `end` frame a channel's pixels.
template <int kVector, class Begin, class Visit, class End>
__device__ void over_chunk(const Work& work, Begin begin, Visit visit, End end) {
  const std::int64_t first = blockIdx.x * work.chunk, last = min(first + work.chunk, work.pixels);
  for (int c = static_cast<int>(threadIdx.x) * kVector; c < work.channels; c += static_cast<int>(blockDim.x) * kVector) {
    begin(c);
    for (std::int64_t p = first + threadIdx.y; p < last; p += blockDim.y) visit(c, p * work.channels + c);
    end(c);
  }
}

// Sum of [pixel rows, channels] over the pixel rows and a group's channels.
__device__ float group_sum(const Work& work, const float* sums, int group) {
  float total = 0.0f;
  for (unsigned y = 0; y < blockDim.y; ++y) {
    for (int c = group * work.width; c < (group + 1) * work.width; ++c) total += sums[y * work.channels + c];
  }
  return total;
}

// Mean and sum of squared deviations of a chunk's groups: parts [rows, chunks, groups, 2]. The deviations are taken in a second look at the chunk, which
// loses no digits where the mean is large.
template <class T, int kVector>
__global__ void chunk_moments(const T* x, float* parts, Work work) {
  extern __shared__ float shared[];
  float *sums = shared, *means = shared + blockDim.y * work.channels;
  const T* row = x + blockIdx.y * work.pixels * work.channels;
  const std::int64_t first = blockIdx.x * work.chunk;
  const float count = static_cast<float>((min(first + work.chunk, work.pixels) - first) * work.width);
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x), threads = static_cast<int>(blockDim.x * blockDim.y);
  float* own = parts + (blockIdx.y * work.chunks + blockIdx.x) * work.groups * 2;
  float sum[kVector];
  const auto clear = [&](int) {
    for (float& value : sum) value = 0.0f;
  };
  const auto store = [&](int c) {
    for (int i = 0; i < kVector; ++i) sums[threadIdx.y * work.channels + c + i] = sum[i];
  };
  over_chunk<kVector>(
      work, clear,
      [&](int, std::int64_t at) {
        const auto pack = load<T, kVector>(row + at);
        for (int i = 0; i < kVector; ++i) sum[i] += to_float(pack.values[i]);
      },
      store);
  __syncthreads();
  for (int g = thread; g < work.groups; g += threads) own[2 * g] = means[g] = group_sum(work, sums, g) / count;
  __syncthreads();
  over_chunk<kVector>(
      work, clear,
      [&](int c, std::int64_t at) {
        const auto pack = load<T, kVector>(row + at);
        for (int i = 0; i < kVector; ++i) {
          const float deviation = to_float(pack.values[i]) - means[(c + i) / work.width];
          sum[i] += deviation * deviation;
        }
      },
      store);
  __syncthreads();
  for (int g = thread; g < work.groups; g += threads) own[2 * g + 1] = group_sum(work, sums, g);
}

struct Moments {
  float count, mean, squares;
};

// Chan, Golub, LeVeque 1983.
__device__ Moments combine(const Moments& a, const Moments& b) {
  if (a.count == 0.0f) return b;
  if (b.count == 0.0f) return a;
  const float count = a.count + b.count, delta = b.mean - a.mean;
  return {count, a.mean + delta * (b.count / count), a.squares + b.squares + delta * delta * (a.count * (b.count / count))};
}

// One block a (group, row).
__global__ void row_moments(const float* parts, float* moments, Work work, float eps) {
  __shared__ Moments shared[kThreads];
  const std::int64_t row = blockIdx.y;
  Moments total{0.0f, 0.0f, 0.0f};
  for (int chunk = static_cast<int>(threadIdx.x); chunk < work.chunks; chunk += kThreads) {
    const std::int64_t first = chunk * work.chunk;
    const float* part = parts + ((row * work.chunks + chunk) * work.groups + blockIdx.x) * 2;
    total = combine(total, {static_cast<float>((min(first + work.chunk, work.pixels) - first) * work.width), part[0], part[1]});
  }
  shared[threadIdx.x] = total;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half]);
  }
  if (threadIdx.x != 0) return;
  float* out = moments + (row * work.groups + blockIdx.x) * 2;
  out[0] = shared[0].mean;
  out[1] = rsqrtf(shared[0].squares / shared[0].count + eps);
}

// z = x scale + shift for each of a thread's channels.
template <class T, int kVector>
struct Line {
  float scale[kVector], shift[kVector];
  __device__ void set(const Work& work, const float* moments, const T* weight, const T* bias, int c) {
    for (int i = 0; i < kVector; ++i) {
      const float* moment = moments + (blockIdx.y * work.groups + (c + i) / work.width) * 2;
      scale[i] = moment[1] * to_float(weight[c + i]);
      shift[i] = to_float(bias[c + i]) - moment[0] * scale[i];
    }
  }
};

template <class T, int kVector, Activation activation>
__global__ void normalise(const T* x, const T* weight, const T* bias, const float* moments, T* y, Work work) {
  const std::int64_t row = blockIdx.y * work.pixels * work.channels;
  Line<T, kVector> line;
  over_chunk<kVector>(
      work, [&](int c) { line.set(work, moments, weight, bias, c); },
      [&](int, std::int64_t at) {
        const auto pack = load<T, kVector>(x + row + at);
        Pack<T, kVector> out;
        for (int i = 0; i < kVector; ++i)
          out.values[i] = from_float<T>(activate<activation>(to_float(pack.values[i]) * line.scale[i] + line.shift[i]));
        *reinterpret_cast<Pack<T, kVector>*>(y + row + at) = out;
      },
      [](int) {});
}

// With dz = dy slope(z) and n the normalised x, a chunk's sums of dz and of dz n: parts [rows, chunks, 2, channels].
template <class T, int kVector, Activation activation>
__global__ void chunk_gradients(const T* x, const T* dy, const T* weight, const T* bias, const float* moments, float* parts, Work work) {
  extern __shared__ float shared[];
  float *shifts = shared, *tilts = shared + blockDim.y * work.channels;
  const std::int64_t row = blockIdx.y * work.pixels * work.channels;
  Line<T, kVector> line;
  float shift[kVector], tilt[kVector];
  over_chunk<kVector>(
      work,
      [&](int c) {
        line.set(work, moments, weight, bias, c);
        for (int i = 0; i < kVector; ++i) shift[i] = tilt[i] = 0.0f;
      },
      [&](int c, std::int64_t at) {
        const auto pack = load<T, kVector>(x + row + at), gradient = load<T, kVector>(dy + row + at);
        for (int i = 0; i < kVector; ++i) {
          const float value = to_float(pack.values[i]);
          const float* moment = moments + (blockIdx.y * work.groups + (c + i) / work.width) * 2;
          const float dz = to_float(gradient.values[i]) * slope<activation>(value * line.scale[i] + line.shift[i]);
          shift[i] += dz;
          tilt[i] += dz * (value - moment[0]) * moment[1];
        }
      },
      [&](int c) {
        for (int i = 0; i < kVector; ++i) {
          shifts[threadIdx.y * work.channels + c + i] = shift[i];
          tilts[threadIdx.y * work.channels + c + i] = tilt[i];
        }
      });
  __syncthreads();
  float* own = parts + (blockIdx.y * work.chunks + blockIdx.x) * 2 * work.channels;
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x), threads = static_cast<int>(blockDim.x * blockDim.y);
  for (int c = thread; c < work.channels; c += threads) {
    float total_shift = 0.0f, total_tilt = 0.0f;
    for (unsigned y = 0; y < blockDim.y; ++y) {
      total_shift += shifts[y * work.channels + c];
      total_tilt += tilts[y * work.channels + c];
    }
    own[c] = total_shift;
    own[work.channels + c] = total_tilt;
  }
}

// Means of w dz and of w dz n over a group of a row: means [rows, groups, 2]. One block a (group, row).
template <class T>
__global__ void row_gradients(const float* parts, const T* weight, float* means, Work work) {
  __shared__ float shifts[kThreads], tilts[kThreads];
  const std::int64_t row = blockIdx.y;
  float shift = 0.0f, tilt = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < work.chunks * work.width; i += kThreads) {
    const int chunk = i / work.width, c = static_cast<int>(blockIdx.x) * work.width + i % work.width;
    const float* part = parts + (row * work.chunks + chunk) * 2 * work.channels;
    shift += to_float(weight[c]) * part[c];
    tilt += to_float(weight[c]) * part[work.channels + c];
  }
  shifts[threadIdx.x] = shift;
  tilts[threadIdx.x] = tilt;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) >= half) continue;
    shifts[threadIdx.x] += shifts[threadIdx.x + half];
    tilts[threadIdx.x] += tilts[threadIdx.x + half];
  }
  if (threadIdx.x != 0) return;
  const float count = static_cast<float>(work.pixels * work.width);
  float* out = means + (row * work.groups + blockIdx.x) * 2;
  out[0] = shifts[0] / count;
  out[1] = tilts[0] / count;
}

// dx = (w dz - mean(w dz) - n mean(w dz n)) / sqrt(var + eps).
template <class T, int kVector, Activation activation>
__global__ void input_gradient(const T* x, const T* dy, const T* weight, const T* bias, const float* moments, const float* means, T* dx,
                               Work work) {
  const std::int64_t row = blockIdx.y * work.pixels * work.channels;
  Line<T, kVector> line;
  over_chunk<kVector>(
      work, [&](int c) { line.set(work, moments, weight, bias, c); },
      [&](int c, std::int64_t at) {
        const auto pack = load<T, kVector>(x + row + at), gradient = load<T, kVector>(dy + row + at);
        Pack<T, kVector> out;
        for (int i = 0; i < kVector; ++i) {
          const float value = to_float(pack.values[i]);
          const std::int64_t group = (blockIdx.y * work.groups + (c + i) / work.width) * 2;
          const float root = moments[group + 1], n = (value - moments[group]) * root;
          const float dz = to_float(gradient.values[i]) * slope<activation>(value * line.scale[i] + line.shift[i]);
          out.values[i] = from_float<T>(line.scale[i] * dz - root * (means[group] + n * means[group + 1]));
        }
        *reinterpret_cast<Pack<T, kVector>*>(dx + row + at) = out;
      },
      [](int) {});
}

struct Launch {
  Work work;
  dim3 blocks, threads, group_blocks;
  std::size_t shared_rows;  // floats of [pixel rows, channels]
};

Launch launch_of(const GroupNormShape& shape, int vector) {
  Launch launch;
  const auto channels = static_cast<int>(shape.channels), groups = static_cast<int>(shape.groups);
  launch.work = {shape.pixels, group_norm_chunk(shape), channels, groups, channels / groups, static_cast<int>(group_norm_chunks(shape))};
  const int lanes = std::min(channels / vector, kThreads);
  launch.threads = dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(std::max(1, kThreads / lanes)));
  const auto rows = static_cast<unsigned>(shape.rows);
  launch.blocks = dim3(static_cast<unsigned>(launch.work.chunks), rows);
  launch.group_blocks = dim3(static_cast<unsigned>(groups), rows);
  launch.shared_rows = static_cast<std::size_t>(launch.threads.y) * static_cast<std::size_t>(channels);
  return launch;
}

// Eight numbers at a time where channels and addresses allow it.
template <class Call>
void with_vector(const GroupNormShape& shape, std::size_t number_bytes, std::initializer_list<const void*> memory, Call call) {
  const bool aligned = std::all_of(memory.begin(), memory.end(),
                                   [&](const void* at) { return reinterpret_cast<std::uintptr_t>(at) % (8 * number_bytes) == 0; });
  if (shape.channels % 8 == 0 && aligned) return call(std::integral_constant<int, 8>{});
  call(std::integral_constant<int, 1>{});
}

template <class Call>
void with_activation(Activation activation, Call call) {
  if (activation == Activation::kSilu) return call(std::integral_constant<Activation, Activation::kSilu>{});
  call(std::integral_constant<Activation, Activation::kNone>{});
}

}  // namespace

std::int64_t group_norm_chunk(const GroupNormShape& shape) {
  return std::clamp((shape.pixels * shape.rows + kWantedBlocks - 1) / kWantedBlocks, kLeastChunk, kLargestChunk);
}

std::int64_t group_norm_chunks(const GroupNormShape& shape) {
  const std::int64_t chunk = group_norm_chunk(shape);
  return (shape.pixels + chunk - 1) / chunk;
}

std::int64_t group_norm_scratch(const GroupNormShape& shape) { return shape.rows * group_norm_chunks(shape) * 2 * shape.channels; }

void launch_group_norm(const GroupNormShape& shape, const GroupNormBuffers& buffers, void* y, double eps, Activation activation,
                       KernelType type, CUstream_st* stream) {
  with_number_type(type, [&]<class T>(T) {
    with_vector(shape, sizeof(T), {buffers.x, y}, [&]<int kVector>(std::integral_constant<int, kVector>) {
      const Launch launch = launch_of(shape, kVector);
      const auto *x = static_cast<const T*>(buffers.x), *weight = static_cast<const T*>(buffers.weight);
      const auto* bias = static_cast<const T*>(buffers.bias);
      const std::size_t shared = (launch.shared_rows + static_cast<std::size_t>(launch.work.groups)) * sizeof(float);
      chunk_moments<T, kVector><<<launch.blocks, launch.threads, shared, stream>>>(x, buffers.parts, launch.work);
      row_moments<<<launch.group_blocks, kThreads, 0, stream>>>(buffers.parts, buffers.moments, launch.work, static_cast<float>(eps));
      with_activation(activation, [&]<Activation kActivation>(std::integral_constant<Activation, kActivation>) {
        normalise<T, kVector, kActivation>
            <<<launch.blocks, launch.threads, 0, stream>>>(x, weight, bias, buffers.moments, static_cast<T*>(y), launch.work);
      });
    });
  });
}

void launch_group_norm_backward(const GroupNormShape& shape, const GroupNormBuffers& buffers, const void* dy, void* dx, float* means,
                                Activation activation, KernelType type, CUstream_st* stream) {
  with_number_type(type, [&]<class T>(T) {
    with_vector(shape, sizeof(T), {buffers.x, dy, dx}, [&]<int kVector>(std::integral_constant<int, kVector>) {
      const Launch launch = launch_of(shape, kVector);
      const auto *x = static_cast<const T*>(buffers.x), *weight = static_cast<const T*>(buffers.weight);
      const auto *bias = static_cast<const T*>(buffers.bias), *gradient = static_cast<const T*>(dy);
      with_activation(activation, [&]<Activation kActivation>(std::integral_constant<Activation, kActivation>) {
        const std::size_t shared = 2 * launch.shared_rows * sizeof(float);
        chunk_gradients<T, kVector, kActivation>
            <<<launch.blocks, launch.threads, shared, stream>>>(x, gradient, weight, bias, buffers.moments, buffers.parts, launch.work);
        row_gradients<T><<<launch.group_blocks, kThreads, 0, stream>>>(buffers.parts, weight, means, launch.work);
        input_gradient<T, kVector, kActivation><<<launch.blocks, launch.threads, 0, stream>>>(x, gradient, weight, bias, buffers.moments,
                                                                                              means, static_cast<T*>(dx), launch.work);
      });
    });
  });
}

}  // namespace nabla
