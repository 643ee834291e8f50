#include "learner/rank_courier.h"

#include "common/clock.h"
#include "common/error.h"
#include "learner/slot_facts.h"
#include "protocol/codec.h"

#include <torch/types.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nabla {

namespace {

constexpr double kVoteEvery_s = 0.4;
constexpr std::uint32_t kStop = 1, kUpdate = 2, kOver = 4;

void add_frame(std::string& bytes, const Bytes& frame) {
  const std::uint64_t size = frame.view.size();
  bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
  bytes.append(reinterpret_cast<const char*>(frame.view.data()), frame.view.size());
}

// Headers are encoded anew: those that were relabelled have none yet.
std::string bytes_of(const UpdateRecords& update) {
  std::string bytes;
  for (const auto& record : update.records) {
    add_frame(bytes, encode(record->header));
    add_frame(bytes, record->encoded.data);
  }
  return bytes;
}

Bytes take_frame(std::string_view& bytes) {
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  const auto begin = reinterpret_cast<const std::byte*>(bytes.data());
  const auto copy = std::make_shared<const std::vector<std::byte>>(begin, begin + size);
  bytes.remove_prefix(size);
  return {copy, *copy};
}

// Rank 0 has judged them.
UpdateRecords records_from(std::int64_t number, std::string_view bytes) {
  UpdateRecords update{.update = number, .records = {}};
  while (!bytes.empty()) {
    EncodedRecord encoded;
    encoded.header = take_frame(bytes);
    encoded.data = take_frame(bytes);
    DecodeResult decoded = decode_record(encoded, {.check_crc = false, .check_finite = false});
    if (decoded.reject != Reject::kNone) throw failure("[group] a record of update {} arrived damaged: {}", number, decoded.reason);
    update.records.push_back(std::make_shared<TrajectoryRecord>(std::move(decoded.record)));
  }
  return update;
}

}  // namespace

RankCourier::RankCourier(ProcessGroup& group, std::int64_t slots_per_update)
    : group_(group), slots_per_update_(slots_per_update), voted_s_(monotonic_seconds()) {}

std::uint32_t RankCourier::vote(std::uint32_t flags) {
  const std::uint32_t all = group_.vote(flags);
  voted_s_ = monotonic_seconds();
  stopped_ = stopped_ || (all & kStop) != 0;
  return all;
}

bool RankCourier::keep_waiting() {
  if (group_.size() > 1 && monotonic_seconds() - voted_s_ >= kVoteEvery_s) vote(0);
  return !stopped_;
}

bool RankCourier::send(const UpdateRecords& update) {
  if (group_.size() == 1) return true;
  vote(kUpdate);
  if (stopped_) return false;
  std::string bytes = bytes_of(update);
  Tensor head = torch::tensor(std::vector<std::int64_t>{update.update, static_cast<std::int64_t>(bytes.size())}, at::kLong);
  Tensor body = torch::from_blob(bytes.data(), {static_cast<std::int64_t>(bytes.size())}, at::kByte);
  group_.broadcast(head, 0);
  group_.broadcast(body, 0);
  return true;
}

void RankCourier::finish() {
  if (group_.size() > 1) vote(kOver);
}

std::optional<UpdateRecords> RankCourier::receive(const std::stop_token& stop) {
  while (true) {
    const std::uint32_t flags = vote(stop.stop_requested() ? kStop : 0);
    if ((flags & kOver) != 0) return std::nullopt;
    if ((flags & kUpdate) == 0 || stopped_) continue;
    Tensor head = torch::zeros({2}, at::kLong);
    group_.broadcast(head, 0);
    Tensor body = torch::zeros({head[1].item<std::int64_t>()}, at::kByte);
    group_.broadcast(body, 0);
    const std::string_view bytes(static_cast<const char*>(body.const_data_ptr()), body.nbytes());
    return share_of(records_from(head[0].item<std::int64_t>(), bytes), slots_per_update_, group_);
  }
}

}  // namespace nabla
