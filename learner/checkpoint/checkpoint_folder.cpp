#include "learner/checkpoint/checkpoint_folder.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/mapped_file.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

namespace nabla {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "update-", kUnfinished = ".tmp", kReplaced = ".replaced";
constexpr const char *kMark = "COMPLETE", *kUnusable = ".unusable";
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kMaxMark = 1 << 20;

// The number in a checkpoint's name; nothing for any other name.
std::optional<std::int64_t> update_in(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t update = 0;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, update);
  return error == std::errc() && end == last && update >= 0 ? std::optional(update) : std::nullopt;
}

nlohmann::ordered_json facts_of(const std::string& path) {
  const MappedFile file(path);
  return {{"bytes", file.bytes().size()}, {"xxh3_128", digest_hex(file.bytes())}};
}

Error unusable(const std::string& path, const std::string& file, const std::string& reason) {
  return data_error(
      "[checkpoint] '{}/{}' {}; take the checkpoint from a copy, or go on from another one (resume=RUN/checkpoints/update-NNNNNN; "
      "resume=auto "
      "takes the newest that is whole)",
      path, file, reason);
}

nlohmann::ordered_json read_mark(const std::string& path) {
  if (!fs::is_directory(path)) throw data_error("[checkpoint] there is no folder '{}'", path);
  if (!fs::exists(path + "/" + kMark)) throw unusable(path, kMark, "is missing: the checkpoint was not finished");
  try {
    const auto mark = read_json(path + "/" + kMark, kMaxMark);
    if (mark.at("format").get<std::int64_t>() != kFormat)
      throw unusable(path, kMark, fmt::format("says format {}, this version reads {}", mark.at("format").dump(), kFormat));
    return mark.at("files");
  } catch (const nlohmann::json::exception& error) {
    throw unusable(path, kMark, fmt::format("is damaged ({})", error.what()));
  }
}

// What a killed writer was busy with.
bool is_left_over(const std::string& name) {
  if (!name.starts_with(kPrefix)) return false;
  return name.find(kUnfinished) != std::string::npos || name.find(kReplaced) != std::string::npos;
}

void remove_left_overs(const std::string& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_left_over(entry.path().filename().string())) found.push_back(entry.path());
  }
  for (const auto& path : found) fs::remove_all(path);
}

}  // namespace

std::string checkpoint_name(std::int64_t next_update) { return fmt::format("update-{:06}", next_update); }

std::vector<CheckpointPlace> find_checkpoints(const std::string& folder) {
  std::vector<CheckpointPlace> places;
  if (!fs::is_directory(folder)) return places;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (const auto update = update_in(name)) places.push_back({*update, folder + "/" + name});
  }
  std::ranges::sort(places, {}, &CheckpointPlace::next_update);
  return places;
}

void write_checkpoint_folder(const std::string& folder, std::int64_t next_update, const std::map<std::string, FileMaker>& files) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) throw failure("[checkpoint] cannot make the folder '{}': {}", folder, code.message());
  const std::string path = folder + "/" + checkpoint_name(next_update), pid = fmt::format(".{}", ::getpid());
  AtomicFolder target(path, std::string(kUnfinished) + pid);
  nlohmann::ordered_json facts = nlohmann::ordered_json::object();
  for (const auto& [name, make] : files) {
    const std::string file = target.temporary_path() + "/" + name;
    make(file);
    facts[name] = facts_of(file);
    failpoint("checkpoint.mid_write");
  }
  write_json(target.temporary_path() + "/" + kMark, {{"format", kFormat}, {"files", facts}});
  sync_folder(target.temporary_path());
  failpoint("checkpoint.before_commit");
  // A folder cannot be renamed over another one.
  const std::string replaced = path + std::string(kReplaced) + pid;
  if (fs::exists(path)) fs::rename(path, replaced);
  target.commit();
  fs::remove_all(replaced, code);
  failpoint("checkpoint.after_commit");
}

void verify_checkpoint_folder(const std::string& path) {
  const auto files = read_mark(path);
  for (const auto& [name, facts] : files.items()) {
    const std::string file = path + "/" + name;
    if (!fs::is_regular_file(file)) throw unusable(path, name, "is missing");
    const auto found = facts_of(file);
    if (found != facts) throw unusable(path, name, fmt::format("is damaged: it is {}, {} was written", found.dump(), facts.dump()));
  }
}

void remove_old_checkpoints(const std::string& folder, const KeepRule& keep, std::int64_t best) {
  remove_left_overs(folder);
  const auto places = find_checkpoints(folder);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep.newest) < places.size(); ++i) {
    const std::int64_t update = places[i].next_update;
    const bool is_multiple = keep.multiples > 0 && update > 0 && update % keep.multiples == 0;
    if (is_multiple || update == best) continue;
    // Without its mark a checkpoint is none, however far its removal came.
    fs::remove(places[i].path + "/" + kMark);
    fs::remove_all(places[i].path);
  }
}

void set_checkpoint_aside(const CheckpointPlace& place) {
  std::error_code code;
  const std::string aside = place.path + kUnusable;
  fs::remove_all(aside, code);
  fs::rename(place.path, aside, code);
  if (code) log_warning("[checkpoint] '{}' cannot be renamed: {}", place.path, code.message());
}

}  // namespace nabla
