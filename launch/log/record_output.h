#pragma once

#include "protocol/trajectory_log.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla {

// One line of `nabla log cat`: everything of an entry but the bytes of its tensors; "entry" says what it is.
nlohmann::ordered_json record_json(const RecordHeader& header);
nlohmann::ordered_json journal_json(const PublishEntry& entry);
nlohmann::ordered_json journal_json(const DiscardEntry& entry);
nlohmann::ordered_json journal_json(const TrainedEntry& entry);

// Writes the record's tensors to FOLDER/slot-000012.safetensors (a relabel record's to slot-000012-relabel-3.safetensors), with slot, version, prompt and
// reward as metadata; returns the path.
std::string write_record_tensors(const TrajectoryRecord& record, const std::string& folder);

}  // namespace nabla
