#include "learner/checkpoint/checkpoint.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/safetensors.h"
#include "learner/checkpoint/named_tensors.h"
#include "learner/checkpoint/state_json.h"

#include <torch/types.h>

#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

constexpr const char *kState = "state.json", *kConfig = "config.yaml", *kTraining = "training.safetensors",
                     *kEvaluations = "evaluations.safetensors", *kSnapshot = "snapshot-";
constexpr std::size_t kMaxConfig = 1 << 20;

std::string snapshot_file(std::int64_t version) { return fmt::format("{}{:06}.safetensors", kSnapshot, version); }

void write_snapshot(const std::string& path, const Snapshot& snapshot) {
  std::map<std::string, TensorBytes> tensors;
  for (const auto& entry : snapshot.table)
    tensors[entry.name] = {entry.dtype, entry.shape, snapshot.data.view.subspan(entry.offset, entry.size)};
  write_safetensors(path, tensors,
                    {{"version", fmt::format("{}", snapshot.version)}, {"digest", snapshot.digest}, {"base_digest", snapshot.base_digest}});
}

Snapshot read_snapshot(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, info] : file->tensors()) sources[name] = {info.dtype, info.shape, file->bytes(name)};
  PackedTensors packed = pack_tensors(sources);
  const std::uint32_t crc = crc32c(packed.data.view);
  const auto& facts = file->metadata();
  return {std::stoll(facts.at("version")), facts.at("digest"),     facts.at("base_digest"),
          std::move(packed.table),         std::move(packed.data), crc};
}

// Pictures by the place of their evaluation in the history.
TensorMap pictures_of(const std::vector<EvaluationSummary>& evaluations) {
  TensorMap pictures;
  for (std::size_t i = 0; i < evaluations.size(); ++i) {
    const EvaluationSummary& evaluation = evaluations[i];
    if (evaluation.images.empty()) continue;
    Tensor images = torch::empty({std::ssize(evaluation.images), evaluation.height, evaluation.width, 3}, at::kByte);
    auto* place = images.data_ptr<std::uint8_t>();
    for (const auto& image : evaluation.images) {
      std::memcpy(place, image.data(), image.size());
      place += image.size();
    }
    pictures[fmt::format("{:06}", i)] = images;
  }
  return pictures;
}

void put_pictures(const TensorMap& pictures, std::vector<EvaluationSummary>& evaluations) {
  for (const auto& [place, images] : pictures) {
    EvaluationSummary& evaluation = evaluations.at(std::stoul(place));
    evaluation.height = images.size(1);
    evaluation.width = images.size(2);
    const auto bytes = static_cast<std::size_t>(images.numel() / images.size(0));
    const auto* first = images.const_data_ptr<std::uint8_t>();
    for (std::int64_t i = 0; i < images.size(0); ++i, first += bytes) evaluation.images.emplace_back(first, first + bytes);
  }
}

Checkpoint read_files(const std::string& path) {
  Checkpoint checkpoint = checkpoint_of(read_json(path + "/" + kState));
  checkpoint.config_text = read_file(path + "/" + kConfig, kMaxConfig);
  checkpoint.training = copies_of(load_tensors(path + "/" + kTraining));
  put_pictures(load_tensors(path + "/" + kEvaluations), checkpoint.so_far.evaluation);
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().filename().string().starts_with(kSnapshot)) checkpoint.snapshots.push_back(read_snapshot(entry.path().string()));
  }
  std::ranges::sort(checkpoint.snapshots, {}, &Snapshot::version);
  return checkpoint;
}

}  // namespace

std::map<std::string, FileMaker> files_of(const Checkpoint& checkpoint) {
  std::map<std::string, FileMaker> files;
  files[kState] = [&](const std::string& path) { write_json(path, state_json(checkpoint)); };
  files[kConfig] = [&](const std::string& path) { write_file(path, checkpoint.config_text); };
  files[kTraining] = [&](const std::string& path) { save_tensors(path, checkpoint.training); };
  files[kEvaluations] = [&](const std::string& path) { save_tensors(path, pictures_of(checkpoint.so_far.evaluation)); };
  for (const auto& snapshot : checkpoint.snapshots)
    files[snapshot_file(snapshot.version)] = [&](const std::string& path) { write_snapshot(path, snapshot); };
  return files;
}

Checkpoint load_checkpoint(const std::string& path) {
  verify_checkpoint_folder(path);
  try {
    return read_files(path);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw data_error("[checkpoint] '{}' was written by another version of this program ({}); go on with that version", path, error.what());
  }
}

}  // namespace nabla
