#include "protocol/log_entry.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/json_file.h"
#include "protocol/codec.h"

namespace nabla {

namespace {

Block one_frame(BlockType type, const Bytes& frame) { return {type, 0, 1, {frame}, {crc32c(frame.view)}}; }

Block block_of_content(const LogHeader& header) {
  nlohmann::ordered_json json;
  json["run_id"] = header.run_id;
  json["weights_contract"] = header.weights_contract;
  json["base_digest"] = header.base_digest;
  if (!header.relabelled_with.empty()) json["relabelled_with"] = header.relabelled_with;
  json["config"] = header.config;
  const auto text = std::make_shared<std::string>(json.dump());
  return one_frame(BlockType::kHeader, {text, std::as_bytes(std::span(*text))});
}

Block block_of_content(const EncodedRecord& record) {
  return {BlockType::kRecord, 0, 2, {record.header, record.data}, {record.header_crc32c, record.data_crc32c}};
}

Block block_of_content(const PublishEntry& entry) { return one_frame(BlockType::kPublish, encode(entry)); }
Block block_of_content(const DiscardEntry& entry) { return one_frame(BlockType::kDiscard, encode(entry)); }
Block block_of_content(const TrainedEntry& entry) { return one_frame(BlockType::kTrained, encode(entry)); }

LogHeader header_of(std::span<const std::byte> bytes) {
  const auto json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "the header entry");
  return {json.at("run_id").get<std::string>(), json.at("weights_contract").get<std::string>(), json.at("config").get<std::string>(),
          json.value("base_digest", std::string()), json.value("relabelled_with", std::string())};
}

EntryOfBlock header_entry(const FoundBlock& block) {
  try {
    return {header_of(block.frames[0]), ""};
  } catch (const nlohmann::json::exception& error) {
    return {std::nullopt, fmt::format("the header entry is not one ({})", error.what())};
  } catch (const Error& error) {
    return {std::nullopt, fmt::format("the header entry is not one ({})", error.what())};
  }
}

template <class Message>
EntryOfBlock message_entry(const FoundBlock& block, const CodecLimits& limits = {}) {
  Message message;
  const DecodeStatus status = decode(block.frames[0], message, limits);
  if (!status.ok) return {std::nullopt, fmt::format("entry {} {}", block.seq, status.reason)};
  return {std::move(message), ""};
}

}  // namespace

EntryBlock block_of(const LogEntry& entry) {
  RecordHeader header;
  if (const auto* record = std::get_if<EncodedRecord>(&entry)) {
    const DecodeStatus status = decode(record->header.view, header);
    if (!status.ok) throw data_error("[log] a record that was not validated cannot be appended: its header {}", status.reason);
  }
  return {std::visit([](const auto& content) { return block_of_content(content); }, entry), index_of(entry, header, {})};
}

EntryOfBlock entry_of(const FoundBlock& block, const std::shared_ptr<const void>& owner) {
  switch (block.type) {
    case BlockType::kHeader:
      return header_entry(block);
    case BlockType::kRecord:
      if (block.num_frames != 2) return {std::nullopt, fmt::format("record {} has {} frames instead of 2", block.seq, block.num_frames)};
      return {EncodedRecord{{owner, block.frames[0]}, {owner, block.frames[1]}, block.frame_crc32c[0], block.frame_crc32c[1]}, ""};
    case BlockType::kPublish:
      return message_entry<PublishEntry>(block);
    case BlockType::kDiscard:
      return message_entry<DiscardEntry>(block);
    case BlockType::kTrained:
      return message_entry<TrainedEntry>(block, kTrainedLimits);
    case BlockType::kFooter:
      break;
  }
  return {std::nullopt, fmt::format("entry {} has the unknown type {}", block.seq, static_cast<int>(block.type))};
}

IndexEntry index_of(const LogEntry& entry, const RecordHeader& header, IndexEntry place) {
  if (const auto* discard = std::get_if<DiscardEntry>(&entry)) place.slot = discard->slot;
  if (!std::holds_alternative<EncodedRecord>(entry)) return place;
  place.slot = header.slot;
  place.kind = static_cast<std::uint16_t>(header.kind);
  place.version = header.version;
  return place;
}

std::optional<IndexEntry> index_of(const FoundBlock& block, std::uint64_t offset) {
  const EntryOfBlock found = entry_of(block, nullptr);
  RecordHeader header;
  if (!found.entry || (block.type == BlockType::kRecord && !decode(block.frames[0], header).ok)) return std::nullopt;
  return index_of(*found.entry, header, {.seq = block.seq, .offset = offset, .type = block.type});
}

}  // namespace nabla
