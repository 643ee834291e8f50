#include "protocol/log_entry.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/json_file.h"
#include "protocol/codec.h"

namespace nabla {

namespace {

template <class Message>
EntryBlock block_of_message(BlockType type, const Message& message) {
  EntryBlock entry;
  entry.block.type = entry.index.type = type;
  entry.block.frames[0] = encode(message);
  entry.block.frame_crc32c[0] = crc32c(entry.block.frames[0].view);
  return entry;
}

EntryBlock block_of_content(const LogHeader& header) {
  nlohmann::ordered_json json;
  json["run_id"] = header.run_id;
  json["weights_contract"] = header.weights_contract;
  json["base_digest"] = header.base_digest;
  if (!header.relabelled_with.empty()) json["relabelled_with"] = header.relabelled_with;
  json["config"] = header.config;
  const auto text = std::make_shared<std::string>(json.dump());
  EntryBlock entry;
  entry.block.type = entry.index.type = BlockType::kHeader;
  entry.block.frames[0] = {text, std::as_bytes(std::span(*text))};
  entry.block.frame_crc32c[0] = crc32c(entry.block.frames[0].view);
  return entry;
}

EntryBlock block_of_content(const EncodedRecord& record) {
  RecordHeader header;
  const DecodeStatus status = decode(record.header.view, header);
  if (!status.ok) throw data_error("[log] a record that was not validated cannot be appended: its header {}", status.reason);
  EntryBlock entry;
  entry.block = {BlockType::kRecord, 0, 2, {record.header, record.data}, {record.header_crc32c, record.data_crc32c}};
  entry.index.slot = header.slot;
  entry.index.kind = static_cast<std::uint16_t>(header.kind);
  entry.index.version = header.version;
  return entry;
}

EntryBlock block_of_content(const PublishEntry& entry) { return block_of_message(BlockType::kPublish, entry); }
EntryBlock block_of_content(const TrainedEntry& entry) { return block_of_message(BlockType::kTrained, entry); }
EntryBlock block_of_content(const DiscardEntry& discard) {
  EntryBlock entry = block_of_message(BlockType::kDiscard, discard);
  entry.index.slot = discard.slot;
  return entry;
}

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
  return std::visit([](const auto& content) { return block_of_content(content); }, entry);
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

std::optional<IndexEntry> index_of(const FoundBlock& block, std::uint64_t offset) {
  const EntryOfBlock found = entry_of(block, nullptr);
  if (!found.entry) return std::nullopt;
  IndexEntry index;
  index.seq = block.seq;
  index.offset = offset;
  index.type = block.type;
  if (const auto* discard = std::get_if<DiscardEntry>(&*found.entry)) index.slot = discard->slot;
  if (!std::holds_alternative<EncodedRecord>(*found.entry)) return index;
  RecordHeader header;
  if (!decode(block.frames[0], header).ok) return std::nullopt;
  index.slot = header.slot;
  index.kind = static_cast<std::uint16_t>(header.kind);
  index.version = header.version;
  return index;
}

}  // namespace nabla
