#include "protocol/record.h"

#include "common/crc32c.h"
#include "common/failpoint.h"
#include "protocol/codec.h"
#include "protocol/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace nabla {

namespace {

// One row a transition; all have the shape [K,C,H,W] of x.
constexpr std::array<std::string_view, 10> kRowTensors{"eps_behaviour",
                                                       "eps_reference",
                                                       "reverse_rao_blackwell",
                                                       "reverse_score_policy",
                                                       "reverse_score_reference",
                                                       "reward_grad_x",
                                                       "reward_grad_x0",
                                                       "reward_grad_y",
                                                       "x",
                                                       "y"};

DecodeResult refuse(Reject reject, std::string reason) {
  DecodeResult result;
  result.reject = reject;
  result.reason = std::move(reason);
  return result;
}

std::optional<std::string> find_size_fault(const EncodedRecord& encoded, const RecordLimits& limits) {
  if (encoded.header.view.size() > limits.max_header_bytes) {
    return fmt::format("the header has {} bytes, at most {} are allowed", encoded.header.view.size(), limits.max_header_bytes);
  }
  if (encoded.data.view.size() > limits.max_data_bytes) {
    return fmt::format("the data frame has {} bytes, at most {} are allowed", encoded.data.view.size(), limits.max_data_bytes);
  }
  return std::nullopt;
}

std::optional<std::string> find_field_fault(const RecordHeader& header) {
  if (header.kind == TicketKind::kEvaluate) return "field 'kind' is evaluate, which has no record";
  const std::pair<const char*, std::int64_t> counts[] = {
      {"slot", header.slot}, {"update", header.update}, {"version", header.version}, {"prompt_index", header.prompt_index}};
  for (const auto& [name, value] : counts) {
    if (value < 0) return fmt::format("field '{}' is {}; it is never negative", name, value);
  }
  for (const std::int64_t token : header.token_ids) {
    if (token < 0) return fmt::format("field 'token_ids' holds {}; token ids are never negative", token);
  }
  return std::nullopt;
}

std::optional<std::string> find_transition_fault(const RecordHeader& header) {
  if (header.transitions.empty()) return "field 'transitions' is empty";
  for (std::size_t i = 0; i < header.transitions.size(); ++i) {
    const std::int32_t step = header.transitions[i].step;
    if (step < 0) return fmt::format("transition {} has step {}", i, step);
    if (i > 0 && step < header.transitions[i - 1].step)
      return fmt::format("transition {} has step {} behind step {}", i, step, header.transitions[i - 1].step);
  }
  return std::nullopt;
}

std::optional<std::string> find_row_fault(const RecordHeader& header) {
  const TensorEntry* x = find_tensor(header.tensors, "x");
  if (header.kind == TicketKind::kSample && (x == nullptr || find_tensor(header.tensors, "y") == nullptr))
    return "tensors 'x' and 'y' are missing";
  const std::vector<std::int64_t>* shape = x == nullptr ? nullptr : &x->shape;
  for (const TensorEntry& entry : header.tensors) {
    if (!std::ranges::binary_search(kRowTensors, std::string_view(entry.name))) continue;
    if (shape == nullptr) shape = &entry.shape;
    const bool has_rows = entry.shape.size() == 4 && entry.shape[0] == static_cast<std::int64_t>(header.transitions.size());
    if (!has_rows) return fmt::format("tensor '{}' is not [{},C,H,W], one row a transition", entry.name, header.transitions.size());
    if (entry.shape != *shape) return fmt::format("tensor '{}' has another shape than the first of the record", entry.name);
  }
  return std::nullopt;
}

// Blocks of this size stay in a core's cache between the two looks at them; a multiple of every element's size.
constexpr std::size_t kBlockBytes = 64 * 1024;

struct FrameContent {
  std::uint32_t data_crc32c = 0;
  const TensorEntry* non_finite = nullptr;  // the first tensor that holds an infinity or NaN
};

// Reads the data frame once for both checks. Tensors start at multiples of 64, so no element lies in two blocks.
FrameContent examine(const RecordHeader& header, std::span<const std::byte> data, const RecordLimits& limits) {
  FrameContent content;
  auto tensor = header.tensors.begin();
  for (std::size_t begin = 0; begin < data.size(); begin += kBlockBytes) {
    const std::size_t end = std::min(begin + kBlockBytes, data.size());
    if (limits.check_crc) content.data_crc32c = crc32c(data.subspan(begin, end - begin), content.data_crc32c);
    while (limits.check_finite && content.non_finite == nullptr && tensor != header.tensors.end() && tensor->offset < end) {
      const std::size_t first = std::max<std::size_t>(tensor->offset, begin),
                        last = std::min<std::size_t>(tensor->offset + tensor->size, end);
      if (!all_finite(tensor->dtype, data.subspan(first, last - first))) content.non_finite = &*tensor;
      if (tensor->offset + tensor->size > end) break;
      ++tensor;
    }
  }
  return content;
}

std::optional<std::string> find_non_finite(const RecordHeader& header, const TensorEntry* tensor) {
  if (!std::isfinite(header.reward)) return "field 'reward' is not finite";
  for (const auto& [name, value] : header.reward_components) {
    if (!std::isfinite(value)) return fmt::format("reward component '{}' is not finite", name);
  }
  if (tensor != nullptr) return fmt::format("tensor '{}' holds a value that is not finite", tensor->name);
  return std::nullopt;
}

std::optional<std::string> find_header_damage(const EncodedRecord& encoded) {
  const std::uint32_t header = crc32c(encoded.header.view);
  if (header == encoded.header_crc32c) return std::nullopt;
  return fmt::format("the header's CRC32C is {:08x}, its sender computed {:08x}", header, encoded.header_crc32c);
}

DecodeResult decode_content(const EncodedRecord& encoded, const RecordLimits& limits) {
  DecodeResult result;
  RecordHeader& header = result.record.header;
  const DecodeStatus status = decode(encoded.header.view, header, {limits.max_header_bytes, limits.max_header_bytes});
  if (!status.ok) return refuse(status.other_version ? Reject::kVersionMismatch : Reject::kBadHeader, "the header " + status.reason);
  if (auto fault = find_field_fault(header)) return refuse(Reject::kBadHeader, *fault);
  if (auto fault = find_transition_fault(header)) return refuse(Reject::kBadTransitions, *fault);
  if (auto fault = find_table_fault(header.tensors, encoded.data.view.size())) return refuse(Reject::kBadTensor, *fault);
  if (auto fault = find_row_fault(header)) return refuse(Reject::kBadTensor, *fault);
  const FrameContent content = examine(header, encoded.data.view, limits);
  if (limits.check_crc && !seeded_bug("record.skip_crc") && content.data_crc32c != encoded.data_crc32c) {
    return refuse(Reject::kBadChecksum,
                  fmt::format("the data frame's CRC32C is {:08x}, its sender computed {:08x}", content.data_crc32c, encoded.data_crc32c));
  }
  if (limits.check_finite) {
    if (auto fault = find_non_finite(header, content.non_finite)) return refuse(Reject::kNonFinite, *fault);
  }
  result.record.encoded = encoded;
  return result;
}

}  // namespace

const TensorEntry* TrajectoryRecord::find(const std::string& name) const { return find_tensor(header.tensors, name); }

std::span<const std::byte> TrajectoryRecord::bytes(const TensorEntry& entry) const {
  return encoded.data.view.subspan(entry.offset, entry.size);
}

EncodedRecord encode_record(RecordHeader header, const PackedTensors& tensors) {
  header.tensors = tensors.table;
  EncodedRecord encoded;
  encoded.header = encode(header);
  encoded.data = tensors.data;
  encoded.header_crc32c = crc32c(encoded.header.view);
  encoded.data_crc32c = crc32c(encoded.data.view);
  return encoded;
}

std::string_view name_of(Reject reject) {
  switch (reject) {
    case Reject::kNone:
      return "none";
    case Reject::kTooLarge:
      return "too_large";
    case Reject::kBadHeader:
      return "bad_header";
    case Reject::kVersionMismatch:
      return "version_mismatch";
    case Reject::kUnknownRun:
      return "unknown_run";
    case Reject::kUnknownSlot:
      return "unknown_slot";
    case Reject::kUnknownTicket:
      return "unknown_ticket";
    case Reject::kBadTensor:
      return "bad_tensor";
    case Reject::kUnknownVersion:
      return "unknown_version";
    case Reject::kBadDigest:
      return "bad_digest";
    case Reject::kBadChecksum:
      return "bad_checksum";
    case Reject::kNonFinite:
      return "non_finite";
    case Reject::kBadTransitions:
      return "bad_transitions";
    case Reject::kDuplicate:
      return "duplicate";
    case Reject::kNondeterministicActor:
      return "nondeterministic_actor";
  }
  return "unknown";
}

// A header that was damaged on the way is that and nothing else, whatever it says now.
DecodeResult decode_record(const EncodedRecord& encoded, const RecordLimits& limits) {
  if (auto fault = find_size_fault(encoded, limits)) return refuse(Reject::kTooLarge, *fault);
  if (limits.check_crc && !seeded_bug("record.skip_crc")) {
    if (auto fault = find_header_damage(encoded)) return refuse(Reject::kBadChecksum, *fault);
  }
  return decode_content(encoded, limits);
}

}  // namespace nabla
