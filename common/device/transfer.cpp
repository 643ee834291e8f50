#include "common/device/transfer.h"

namespace nabla {

at::Tensor to_device(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  const bool upload = tensor.is_cpu() && device.is_cuda();
  return upload ? tensor.pin_memory().to(tensor.options().device(device), true) : tensor.to(device);
}

}  // namespace nabla
