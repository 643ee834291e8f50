#include "learner/relabelled_record.h"

namespace nabla {

SharedRecord relabelled(const TrajectoryRecord& sample, const TrajectoryRecord& relabel) {
  std::map<std::string, TensorSource> tensors;
  for (const auto* record : {&sample, &relabel}) {
    for (const auto& entry : record->header.tensors) tensors[entry.name] = {entry.dtype, entry.shape, record->bytes(entry)};
  }
  PackedTensors packed = pack_tensors(tensors);
  const auto merged = std::make_shared<TrajectoryRecord>();
  merged->header = sample.header;
  merged->header.tensors = std::move(packed.table);
  merged->encoded.data = std::move(packed.data);
  return merged;
}

}  // namespace nabla
